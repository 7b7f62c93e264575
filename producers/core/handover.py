"""Hand clusters over to another process. In: what their owner keeps on disk. Out: a record of
`targets`, and what the next owner goes on with.

The rule this file owns: no number of an attempt is used by two owners. One that hands over in peace
tells the numbers as they are, and the next one goes on with them. After one that died, or of whose
targets nothing is known, numbers begin at the milliseconds since 1970: an attempt takes longer than
one, so those are beyond all numbers before.
"""

from typing import Final

import msgspec

from schemas.errors import DecodeError

TARGETS: Final = "targets"
SUFFIXES: Final = {TARGETS: ".json", "discovery": ".json", "watches": ".leases.json"}
"""Folders of `<data>/producers` that hold a file of each cluster, and how its name ends."""


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered of one target."""

    job: str
    instance: str
    path: str
    labels: dict[str, str]
    interval_ms: int
    sequence: int  # of its newest attempt
    address: str = ""  # of a process that shares one: the instance that stands for that
    process_start_ms: int = 0


class KnownTargets(msgspec.Struct, frozen=True, kw_only=True):
    """The file of one cluster in the folder `targets`."""

    targets: list[Known]


class Handover(msgspec.Struct, frozen=True, kw_only=True):
    """What the next owner of a cluster goes on with; the value of a record of `targets`."""

    owner: str  # which data folder wrote it: to that one its own files are newer
    final: bool  # the owner has ended; else it may have gone on since
    files: dict[str, str]  # text, by folder


def encode(handover: Handover) -> bytes:
    """Return a handover as the value of a record."""
    return msgspec.json.encode(handover)


def decode(value: bytes) -> Handover:
    """Return the handover of a record.

    Raises:
        DecodeError: it is none.
    """
    try:
        return msgspec.json.decode(value, type=Handover)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DecodeError(f"no handover of a cluster: {error}") from error


def adopted(handover: Handover, now_ms: int) -> dict[str, str]:
    """Return the files with which another owner begins at `now_ms`."""
    files = handover.files
    if handover.final or TARGETS not in files:
        return files
    try:
        known = msgspec.json.decode(files[TARGETS], type=KnownTargets)
    except msgspec.DecodeError:  # who reads it begins anew, as its owner would
        return files
    anew = [msgspec.structs.replace(one, sequence=now_ms) for one in known.targets]
    return files | {TARGETS: msgspec.json.encode(KnownTargets(targets=anew)).decode()}
