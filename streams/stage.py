"""Hold what the parts of the stage share. In: nothing. Out: one frozen value, made at the start."""

from dataclasses import dataclass

from schemas.clock import Clock
from schemas.settings import Settings
from schemas.telemetry import Telemetry
from streams.core.context import Context


@dataclass(frozen=True, slots=True)
class Stage:
    """Settings, rules, clocks and counters of one worker."""

    settings: Settings
    context: Context
    partitions: int  # of every topic
    clock: Clock
    telemetry: Telemetry
