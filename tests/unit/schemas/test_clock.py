"""Event time of a rehearsal: the same in every process, without jumps."""

from pathlib import Path

import pytest

from schemas.clock import Clock, ClockWriter


class Wall:
    """A wall clock that the test moves."""

    def __init__(self, now_ms: int) -> None:
        self.now_ms = now_ms

    def __call__(self) -> int:
        return self.now_ms


def test_without_a_file_event_time_is_wall_time() -> None:
    wall = Wall(1_000)
    assert 1_000 == Clock(wall=wall).now_ms()
    assert 2.5 == Clock(wall=wall).wall_s(2_500)


def test_a_rehearsal_runs_at_its_own_speed(tmp_path: Path) -> None:
    wall = Wall(1_000)
    ClockWriter(tmp_path / "clock", event_ms=500_000, speed=4, wall=wall)
    clock = Clock(tmp_path / "clock", wall=wall)
    wall.now_ms += 250
    assert 501_000 == clock.now_ms()
    assert 0.25 == clock.wall_s(1_000)


def test_a_change_of_speed_never_moves_event_time(tmp_path: Path) -> None:
    wall = Wall(0)
    writer = ClockWriter(tmp_path / "clock", event_ms=0, speed=10, wall=wall)
    clock = Clock(tmp_path / "clock", wall=wall)
    wall.now_ms = 1_000
    writer.set_speed(0.5)
    assert (10_000, 0.5) == (clock.now_ms(), clock.speed)
    wall.now_ms = 3_000
    assert 11_000 == clock.now_ms()


def test_a_clock_cannot_stand_still(tmp_path: Path) -> None:
    writer = ClockWriter(tmp_path / "clock", event_ms=0, speed=1)
    with pytest.raises(AssertionError, match="speed 0"):
        writer.set_speed(0)
