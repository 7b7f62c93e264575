"""Read times that people type. In: `-1h`, `now`, `2026-11-25T12:00`, and the present. Out: epoch
milliseconds.

The rule this file owns: a time without a zone is UTC, as everywhere in planewatch.
"""

import re
from datetime import UTC, datetime
from typing import Final

_AGO: Final = re.compile(r"-(\d+)(ms|s|m|h|d)")
_UNIT_MS: Final = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def moment_ms(text: str, *, now_ms: int) -> int:
    """Return the time that `text` means.

    Raises:
        ValueError: it means none.
    """
    if text == "now":
        return now_ms
    if ago := _AGO.fullmatch(text):
        return now_ms - int(ago[1]) * _UNIT_MS[ago[2]]
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is no time: try now, -1h or 2026-11-25T12:00") from None
    aware = found if found.tzinfo else found.replace(tzinfo=UTC)
    return int(aware.timestamp() * 1000)
