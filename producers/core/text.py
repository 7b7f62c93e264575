"""Read the bodies of one target in the text format. In: body after body. Out: what each says.

The rule this file owns: a body is read strictly unless it differs from the one before by values
only; both ways give the same columns. What did not change costs a comparison.
"""

from dataclasses import dataclass

from producers.core.exposition import Exposition, negative_rows, parse_strictly
from producers.core.keys import Keys
from producers.core.lines import Lines, lines
from producers.core.retold import Places, places


@dataclass(frozen=True, slots=True)
class _Known:
    """A body that the next one may repeat with other values."""

    lines: Lines
    places: Places
    samples: int


class TextReader:
    """Reads the bodies of one target. Not for several threads at once."""

    def __init__(self) -> None:
        self._known: _Known | None = None

    def read(self, body: bytes, keys: Keys, *, samples_max: int, whole: bool = True) -> Exposition:
        """Return what `body` says, as `parse` does."""
        if whole and (found := self._again(body)) is not None:
            return found
        strictly = parse_strictly(body, keys, samples_max=samples_max, whole=whole)
        self._known = None
        if strictly.plain:
            columns = strictly.exposition.columns
            where = places(strictly.slots, columns.layout)
            compared = lines(body, strictly.values)
            if where is not None and compared is not None:
                self._known = _Known(compared, where, strictly.exposition.samples)
        return strictly.exposition

    def _again(self, body: bytes) -> Exposition | None:
        """Return what a body says that differs by values from the one before."""
        known = self._known
        samples = known.lines.samples(body) if known else None
        columns = known.places.columns(samples) if known and samples is not None else None
        if known is None or columns is None:
            return None
        return Exposition(columns, known.samples, negative=negative_rows(columns))
