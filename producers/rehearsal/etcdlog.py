"""The log of the etcd member of a rehearsal. In: a span of event time. Out: its lines, zap JSON.

The rule this file owns: the log is a function of event time: each kind of line comes once in each
period, at a moment within it and with values that follow from its number.
"""

import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from producers.rehearsal.etcd import COMPACTION_S, DB_BYTES, revision

Fields = dict[str, Any]

KEYS: Final = (
    "/registry/pods/", "/registry/events/", "/registry/configmaps/", "/registry/leases/",
    "/registry/replicasets/",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Kind:
    """A kind of line: how often it comes; `fields` (share, t_ms): share is in [0, 1).

    Kinds of one `cause` come together.
    """

    cause: str
    period_s: int
    level: str
    caller: str
    msg: str
    fields: Callable[[float, int], Fields]


def lines(origin_ms: int, after_ms: int, until_ms: int) -> list[bytes]:
    """Return the lines with after_ms < time <= until_ms, oldest first."""
    found: list[tuple[int, bytes]] = []
    for kind in _KINDS:
        period_ms = kind.period_s * 1000
        first, last = ((t_ms - origin_ms) // period_ms for t_ms in (after_ms, until_ms))
        for number in range(first, last + 1):
            share = zlib.crc32(f"{kind.cause}/{number}".encode()) % 10_007 / 10_007
            t_ms = origin_ms + int((number + share) * period_ms)
            if after_ms < t_ms <= until_ms:
                found.append((t_ms, _line(kind, t_ms, share)))
    return [line for _, line in sorted(found, key=lambda one: one[0])]


def _line(kind: _Kind, t_ms: int, share: float) -> bytes:
    moment = datetime.fromtimestamp(t_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.")
    line = {
        "level": kind.level,
        "ts": f"{moment}{t_ms % 1000:03d}{int(share * 1000):03d}Z",
        "caller": kind.caller,
        "msg": kind.msg,
        **kind.fields(share, t_ms),
    }
    return json.dumps(line, separators=(",", ":")).encode() + b"\n"


def _slow_apply(share: float, _: int) -> Fields:
    key = KEYS[int(share * len(KEYS))]
    count = 50 + int(share * 400)
    return {
        "took": f"{101 + share * 60:.6f}ms",
        "expected-duration": "100ms",
        "prefix": "read-only range ",
        "request": f'key:"{key}" range_end:"{key[:-1]}0" limit:500 ',
        "response": f"range_response_count:{count} size:{count * 1_830}",
    }


def _compaction(share: float, t_ms: int) -> Fields:
    return {
        "compact-revision": revision(t_ms - COMPACTION_S * 1000),
        "took": f"{40 + share * 25:.6f}ms",
        "hash": int(share * 4e9),
        "current-db-size-bytes": int(DB_BYTES),
        "current-db-size": "96 MB",
        "current-db-size-in-use-bytes": int(DB_BYTES * 0.55),
        "current-db-size-in-use": "53 MB",
    }


def _index(_: float, t_ms: int) -> Fields:
    return {"revision": revision(t_ms - COMPACTION_S * 1000)}


def _fsync(share: float, _: int) -> Fields:
    return {"took": f"{1 + share * 0.2:.9f}s", "expected-duration": "1s"}


_KINDS: Final = (
    _Kind("apply", 75, "warn", "etcdserver/util.go:183", "apply request took too long",
          _slow_apply),
    _Kind("compact", COMPACTION_S, "info", "mvcc/index.go:214", "compact tree index", _index),
    _Kind("compact", COMPACTION_S, "info", "mvcc/kvstore_compaction.go:72",
          "finished scheduled compaction", _compaction),
    _Kind("fsync", 1_800, "warn", "wal/wal.go:838", "slow fdatasync", _fsync),
)  # fmt: skip
