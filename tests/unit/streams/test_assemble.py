"""A scrape is whole or it never existed."""

import msgspec
import pytest

from schemas.arrow import Frame, decode_scrape
from schemas.records import ScrapeEnvelope
from streams.core.assemble import Assembler, Dropped
from streams.core.samples import Scrape
from tests.scrapes import STEP_MS
from tests.shards import chunked, requests

T = 1_700_000_000_000


def frames(one: Scrape, chunks: int) -> list[Frame[ScrapeEnvelope]]:
    return [decode_scrape(value) for value in chunked(one, chunks)]


def test_chunks_in_order_make_a_scrape() -> None:
    assembler = Assembler()
    first, second = frames(requests([1, 2, 3], T), 2)

    assert (None, []) == assembler.add(7, first)
    assert 7 == assembler.first_offset
    scrape, dropped = assembler.add(8, second)

    assert scrape is not None
    assert [1, 2, 3] == scrape.rows.column("value").to_pylist()
    assert 1 == scrape.envelope.chunk
    assert [] == dropped
    assert assembler.first_offset is None


def test_a_chunk_that_was_sent_twice_is_passed_over() -> None:
    assembler = Assembler()
    first, second = frames(requests([1, 2, 3], T), 2)
    assembler.add(0, first)

    assert (None, [Dropped.REPEATED]) == assembler.add(1, first)
    scrape, _ = assembler.add(2, second)

    assert scrape is not None
    assert 3 == scrape.rows.num_rows


def test_a_missing_chunk_makes_the_scrape_incomplete() -> None:
    assembler = Assembler()
    first, _, third = frames(requests([1, 2, 3], T), 3)
    assembler.add(0, first)

    assert (None, [Dropped.INCOMPLETE]) == assembler.add(1, third)
    assert assembler.first_offset is None


@pytest.mark.parametrize("late_ms", [0, 600_000], ids=["in time", "from a spool"])
def test_half_a_scrape_is_given_up_after_three_intervals(late_ms: int) -> None:
    assembler = Assembler()
    assembler.pass_time(T + late_ms)
    first, second = frames(requests([1, 2], T), 2)
    assembler.add(7, first)

    assert [] == assembler.pass_time(T + late_ms + 3 * STEP_MS)
    assert 7 == assembler.first_offset
    assert [Dropped.INCOMPLETE] == assembler.pass_time(T + late_ms + 3 * STEP_MS + 1)
    assert assembler.first_offset is None
    assert (None, [Dropped.INCOMPLETE]) == assembler.add(8, second)


def test_the_end_of_a_scrape_alone_is_nothing() -> None:
    _, second = frames(requests([1, 2], T), 2)

    assert (None, [Dropped.INCOMPLETE]) == Assembler().add(0, second)


def test_a_newer_scrape_takes_the_place_of_a_half_one() -> None:
    assembler = Assembler()
    first, _ = frames(requests([1, 2], T), 2)
    (newer,) = frames(requests([3, 4], T + 5_000), 1)
    assembler.add(0, first)

    scrape, dropped = assembler.add(1, newer)

    assert scrape is not None
    assert [Dropped.INCOMPLETE] == dropped


def test_an_older_scrape_from_a_spool_leaves_a_half_one_alone() -> None:
    assembler = Assembler()
    first, second = frames(requests([1, 2], T), 2)
    older, older_end = frames(requests([0, 0], T - 5_000), 2)
    assembler.add(0, first)

    assert (None, [Dropped.INCOMPLETE]) == assembler.add(1, older)
    assert (None, [Dropped.INCOMPLETE]) == assembler.add(2, older_end)
    scrape, _ = assembler.add(3, second)

    assert scrape is not None


def test_targets_do_not_mix() -> None:
    assembler = Assembler()
    a, b = (frames(requests([1, 2], T, instance=name), 2) for name in "ab")
    for offset, frame in enumerate((a[0], b[0])):
        assembler.add(offset, frame)

    assert all(assembler.add(9, frame)[0] is not None for frame in (b[1], a[1]))


def test_half_scrapes_beyond_the_limit_are_given_up_oldest_first() -> None:
    assembler = Assembler(open_bytes_max=1)
    first, _ = frames(requests([1, 2], T), 2)

    assert (None, [Dropped.TOO_MANY]) == assembler.add(0, first)
    assert assembler.first_offset is None


def test_the_layout_of_a_scrape_depends_on_all_its_chunks() -> None:
    def layout(*layouts: int) -> int:
        assembler = Assembler()
        parts = frames(requests([1, 2], T), len(layouts))
        for part, one in zip(parts, layouts, strict=True):
            envelope = msgspec.structs.replace(part.envelope, layout=one)
            scrape, _ = assembler.add(0, Frame(envelope, part.rows))
        assert scrape is not None
        return scrape.layout

    assert 5 == layout(5)
    assert layout(5, 6) != layout(5, 7)
    assert layout(5, 6) == layout(5, 6)
