"""Times that people type."""

import pytest

from sinks.core.moments import moment_ms

NOW_MS = 1_764_000_000_000


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("now", NOW_MS),
        ("-90s", NOW_MS - 90_000),
        ("-15m", NOW_MS - 900_000),
        ("-2h", NOW_MS - 7_200_000),
        ("-1d", NOW_MS - 86_400_000),
        ("-5ms", NOW_MS - 5),
        ("1970-01-02", 86_400_000),
        ("1970-01-01T00:00:01.5", 1_500),
        ("1970-01-01T01:00+01:00", 0),
    ],
)
def test_a_text_means_a_time(text: str, ms: int) -> None:
    assert ms == moment_ms(text, now_ms=NOW_MS)


@pytest.mark.parametrize("text", ["", "later", "-1", "-1w", "5m", "1970-13-01"])
def test_anything_else_means_none(text: str) -> None:
    with pytest.raises(ValueError, match="is no time"):
        moment_ms(text, now_ms=NOW_MS)
