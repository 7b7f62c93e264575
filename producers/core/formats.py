"""Choose how a body is read. In: bodies of one target, with content types. Out: what each says.

The rule this file owns: the answer says what it is, whatever was asked for. The protobuf format is
asked for first: it costs a server least, and says more; whatever is not exactly it is read as text.
"""

from email.message import Message
from typing import Final

from producers.core.exposition import Exposition
from producers.core.keys import Keys
from producers.core.protobuf import ProtobufReader
from producers.core.text import TextReader

ACCEPT: Final = (
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;"
    "q=0.7,text/plain;version=0.0.4;q=0.3"
)

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

    def __init__(self) -> None:
        self._reader: TextReader | ProtobufReader = TextReader()

    def read(
        self,
        body: bytes,
        content_type: str,
        keys: Keys,
        *,
        samples_max: int,
        whole: bool = True,
    ) -> Exposition:
        """Return what `body` says; at most `samples_max` samples of it.

        `whole`: False where the caller cut the body.
        """
        kind = ProtobufReader if is_protobuf(content_type) else TextReader
        if not isinstance(self._reader, kind):
            self._reader = kind()
        return self._reader.read(body, keys, samples_max=samples_max, whole=whole)
