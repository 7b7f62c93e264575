"""Choose how a body is read. In: bodies of one target, with content types. Out: what each says.

The rule this file owns: the answer says what it is, whatever was asked for. The protobuf format is
asked for first: it costs a server least, and says more; whatever is not exactly it is read as text.
Of a body with too many series only the families worth most are read, in both formats the same ones;
what is left of it is read like any other body, so it is cheap where it repeats itself.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from email.message import Message
from functools import partial
from itertools import islice
from typing import Final

from producers.core.bounded import NONE, Names, counted, left_out, without
from producers.core.exposition import Exposition
from producers.core.families import EVERYTHING, Families
from producers.core.keys import Keys
from producers.core.pieces import Piece, protobuf_pieces, text_pieces
from producers.core.protobuf import ProtobufReader
from producers.core.text import TextReader
from producers.core.worth import rank

ACCEPT: Final = (
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;"
    "q=0.7,text/plain;version=0.0.4;q=0.3"
)

PIECES_MAX: Final = 50_000  # of a body that are remembered; of more, it is cut once again

_PROTOBUF: Final = "application/vnd.google.protobuf"
_MESSAGE: Final = "io.prometheus.client.MetricFamily"


def is_protobuf(content_type: str) -> bool:
    """Tell whether a body is in the delimited protobuf format."""
    said = Message()
    said["content-type"] = content_type
    if said.get_content_type() != _PROTOBUF:
        return False
    return (said.get_param("proto"), said.get_param("encoding")) == (_MESSAGE, "delimited")


class BodyReader:
    """Reads the bodies of one target. Not for several threads at once."""

    def __init__(self, families: Families = EVERYTHING) -> None:
        """families: what is kept of the target."""
        self._reader: TextReader | ProtobufReader = TextReader()
        self._rank = partial(rank, families=families)
        self._left_out: Names = NONE

    def read(
        self,
        body: bytes,
        content_type: str,
        keys: Keys,
        *,
        samples_max: int,
        whole: bool = True,
    ) -> Exposition:
        """Return what `body` says; of more than `samples_max` samples, the families worth most.

        `whole`: False where the caller cut the body.
        """
        kind = ProtobufReader if is_protobuf(content_type) else TextReader
        if not isinstance(self._reader, kind):
            self._reader = kind()
        if not self._left_out:
            found = self._reader.read(body, keys, samples_max=samples_max, whole=whole)
            if not found.more:
                return found
        return self._bounded(body, keys, samples_max, whole=whole)

    def _bounded(self, body: bytes, keys: Keys, samples_max: int, *, whole: bool) -> Exposition:
        """Return what a body says that has more than `samples_max` samples, or had before."""
        pieces = self._pieces(body)
        samples = counted(pieces())
        self._left_out = lost = left_out(
            samples, self._rank, self._left_out, samples_max=samples_max
        )
        if not lost:
            return self._reader.read(body, keys, samples_max=samples_max, whole=whole)
        kept = without(body, pieces(), frozenset(samples) - lost)
        found = self._reader.read(kept, keys, samples_max=samples_max, whole=whole)
        missing = tuple((name, samples[name]) for name in samples if name in lost)
        return replace(found, more=True, left_out=missing)

    def _pieces(self, body: bytes) -> Callable[[], Iterable[Piece]]:
        """Return what tells the pieces of a body, as often as it is asked."""
        cut = partial(
            text_pieces if isinstance(self._reader, TextReader) else protobuf_pieces, body
        )
        found = [*islice(cut(), PIECES_MAX)]
        return cut if len(found) == PIECES_MAX else lambda: found
