"""Simulate the processes of a control plane for benches. In: a real capture, a seed. Out: its
exposition and the records of its scrapes, scrape after scrape.

Rule: series, order and layout are those of the capture for ever; only values change. A counter
grows as if it had counted what it shows within two minutes, with the noise of its kind: then half
of all samples change from one scrape to the next, as on a busy server. Records are cut as the
producers cut them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import groupby

import msgspec
import numpy as np
import pyarrow as pa

from producers.core.attempts import PROCESS_START, kubernetes_version
from producers.core.chunks import encode_chunks
from producers.core.columns import columns_of
from producers.core.exposition import parse
from producers.core.keys import Keys
from producers.core.rows import Row, make_series
from schemas.arrow import SCRAPE_SCHEMA, decode_scrape, encode_scrape
from schemas.records import Kind, Outcome, ScrapeEnvelope
from schemas.series import CORE_LABELS, parse_labels
from tests import fixtures

API_SERVER = "1_35-api-server"
ETCD = "1_35-etcd"
JOBS = {API_SERVER: "apiserver", ETCD: "etcd"}
KEYS_MAX = 5_000_000
SECONDS_COUNTED = 120.0
UP_MS = 86_400_000
"""How long the process has been running when the bench begins."""

VALUE_COLUMNS = ("value", "count", "buckets")


@dataclass(frozen=True, slots=True)
class Piece:
    """One record of each scrape: which rows, and the columns that never change."""

    begin: int
    end: int
    constants: dict[str, pa.Array]
    layout: int


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """What the processes of one kind have in common."""

    job: str
    rows: tuple[Row, ...]
    samples: int
    pieces: tuple[Piece, ...]
    version: str
    started_ms: int

    @property
    def begin_ms(self) -> int:
        """When benches begin: the capture's process is a day old then; a multiple of 5 min."""
        return (self.started_ms + UP_MS) // 300_000 * 300_000


@cache
def shape(capture: str, samples_min: int = 0) -> Shape:
    """Return the shape of a capture; label sets are multiplied until there are `samples_min`."""
    found = parse(fixtures.metrics(capture), Keys(KEYS_MAX), samples_max=10**9)
    rows = _multiplied(found.rows, found.samples, samples_min)
    samples = found.samples + sum(map(_samples, rows)) - sum(map(_samples, found.rows))
    columns = columns_of(rows)
    envelope = envelope_of("c", JOBS[capture], "i", 0, 15_000)
    pieces, begin = [], 0
    for chunk in encode_chunks(envelope, columns):
        batch = decode_scrape(chunk.value).rows
        constants = {name: batch.column(name) for name in batch.schema.names}
        for name in VALUE_COLUMNS:
            del constants[name]
        pieces.append(Piece(begin, begin + len(batch), constants, chunk.envelope.layout))
        begin += len(batch)
    assert begin == len(rows)
    started_s = next(row.value for row in rows if row.series.metric == PROCESS_START)
    version = kubernetes_version(columns.layout)
    return Shape(JOBS[capture], rows, samples, tuple(pieces), version, int(started_s * 1000))


def _samples(row: Row) -> int:
    return 1 if row.count is None else 2 + len(row.buckets or ())


def _multiplied(rows: tuple[Row, ...], samples: int, samples_min: int) -> tuple[Row, ...]:
    """Add label sets with more resources: what custom resources do to an API server."""
    families = [list(group) for _, group in groupby(rows, lambda row: row.series.metric)]
    added: list[list[Row]] = [[] for _ in families]
    copy = 1
    while samples < samples_min:
        for nth, family in enumerate(families):
            for row in family:
                if samples < samples_min and row.series.core[CORE_LABELS.index("resource")]:
                    added[nth].append(_copy(row, copy))
                    samples += _samples(row)
        copy += 1
    return tuple(row for old, new in zip(families, added, strict=True) for row in [*old, *new])


def _copy(row: Row, number: int) -> Row:
    one = row.series
    labels = labels_of(row)
    labels["resource"] += f"-{number}"
    return Row(
        make_series(one.metric, one.kind, labels), row.value, row.count, row.buckets, row.bounds
    )


def labels_of(row: Row) -> dict[str, str]:
    """Return all labels of a row."""
    core = zip(CORE_LABELS, row.series.core, strict=True)
    return {name: text for name, text in core if text} | parse_labels(row.series.labels)


def envelope_of(
    cluster: str, job: str, instance: str, t_ms: int, interval_ms: int
) -> ScrapeEnvelope:
    """Return the envelope of a good scrape without what its rows say."""
    return ScrapeEnvelope(
        cluster=cluster,
        job=job,
        instance=instance,
        path="/metrics",
        scrape_id=f"{job}-{instance}-{t_ms}",
        tick_ms=t_ms,
        start_ms=t_ms,
        end_ms=t_ms + 40,
        interval_ms=interval_ms,
        sequence=t_ms // interval_ms,
        outcome=Outcome.OK,
        http_status=200,
        generation="bench",
    )


class Process:
    """One process that is scraped. `advance` lets its time pass."""

    def __init__(self, kind: Shape, seed: int) -> None:
        self.shape = kind
        self._dice = np.random.default_rng(seed)
        rows = kind.rows
        self.value = np.array([row.value for row in rows])
        self.count = np.array([row.count or 0 for row in rows], np.int64)
        widths = np.array([len(row.buckets or ()) for row in rows])
        self.offsets = np.concatenate([[0], np.cumsum(widths)])
        self.buckets = np.array([n for row in rows for n in row.buckets or ()], np.int64)
        self._folded = np.flatnonzero(widths)
        self._no_count = np.array([row.count is None for row in rows])
        self._no_buckets = np.array([row.buckets is None for row in rows])
        self._growth()

    def _growth(self) -> None:
        rows = self.shape.rows
        counters = np.array([_counts(row) for row in rows])
        whole = self.value == np.floor(self.value)
        self._events = np.flatnonzero(counters & whole & (self.value > 0))
        self._amounts = np.flatnonzero(counters & ~whole & (self.value > 0))
        self._levels = np.flatnonzero([_moves(row) for row in rows])
        self._level = self.value[self._levels].copy()
        self._rate = np.maximum(self.value, 0) / SECONDS_COUNTED
        self._bucket_rate = np.maximum(self.buckets, 0) / SECONDS_COUNTED
        count = np.maximum(self.count[self._folded], 1)
        self._mean = np.nan_to_num(self.value[self._folded]) / count

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        dice = self._dice
        self.value[self._events] += dice.poisson(self._rate[self._events] * seconds)
        noise = dice.uniform(0.5, 1.5, len(self._amounts))
        self.value[self._amounts] += self._rate[self._amounts] * seconds * noise
        level = self._level * dice.uniform(0.8, 1.2, len(self._level))
        self.value[self._levels] = np.round(level)
        grown = dice.poisson(self._bucket_rate * seconds)
        self.buckets += grown
        events = np.add.reduceat(grown, self.offsets[self._folded])
        self.count[self._folded] += events
        self.value[self._folded] += events * self._mean

    def records(self, envelope: ScrapeEnvelope) -> list[bytes]:
        """Return the records of a scrape as the producers write them."""
        kind = self.shape
        whole = msgspec.structs.replace(
            envelope,
            series=kind.samples,
            rows=len(kind.rows),
            chunks=len(kind.pieces),
            process_start_ms=kind.started_ms,
            kubernetes_version=kind.version,
        )
        return [
            encode_scrape(
                msgspec.structs.replace(whole, chunk=i, layout=piece.layout), self._batch(piece)
            )
            for i, piece in enumerate(kind.pieces)
        ]

    def _batch(self, piece: Piece) -> pa.RecordBatch:
        begin, end = piece.begin, piece.end
        offsets = self.offsets[begin : end + 1]
        counts = self.count[begin:end].astype(np.uint64)
        columns = piece.constants | {
            "value": pa.array(self.value[begin:end]),
            "count": pa.array(counts, mask=self._no_count[begin:end]),
            "buckets": pa.ListArray.from_arrays(
                pa.array(offsets - offsets[0], pa.int32()),
                pa.array(self.buckets[offsets[0] : offsets[-1]]),
                mask=pa.array(self._no_buckets[begin:end]),
            ),
        }
        arrays = [columns[field.name] for field in SCRAPE_SCHEMA]
        return pa.RecordBatch.from_arrays(arrays, schema=SCRAPE_SCHEMA)

    def samples(self) -> list[float]:
        """Return the value of each sample in the order of `keys`."""
        values, counts, buckets = self.value.tolist(), self.count.tolist(), self.buckets.tolist()
        found: list[float] = []
        for i, row in enumerate(self.shape.rows):
            if row.buckets is not None:
                total = 0
                for number in buckets[self.offsets[i] : self.offsets[i + 1]]:
                    total += number
                    found.append(total)
            found.append(values[i])
            if row.count is not None:
                found.append(counts[i])
        return found


def _counts(row: Row) -> bool:
    """Tell whether a row is a counter, whatever its type says."""
    if row.count is not None:
        return False
    return row.series.kind is Kind.COUNTER or row.series.metric.endswith("_total")


def _moves(row: Row) -> bool:
    """Tell whether a row is a level that goes up and down: not a flag, a time or a limit."""
    name, value = row.series.metric, row.value
    still = ("_seconds", "_limit", "_bytes", "_percent", "_info", "_version", "_revision")
    return (
        row.series.kind is Kind.GAUGE
        and not _counts(row)
        and value == np.floor(value)
        and 2 <= value < 1e6
        and not name.endswith(still)
    )


@cache
def keys(kind: Shape) -> tuple[tuple[str, tuple[tuple[str, str], ...]], ...]:
    """Return name and labels of each sample, in the order of an exposition."""
    found = []
    for row in kind.rows:
        name, labels = row.series.metric, tuple(labels_of(row).items())
        if row.buckets is not None:
            bounds = [*filter(None, row.bounds.split(",")), "+Inf"]
            found += [(f"{name}_bucket", (*labels, ("le", bound))) for bound in bounds]
        if row.count is None:
            found.append((name, labels))
        else:
            found += [(f"{name}_sum", labels), (f"{name}_count", labels)]
    return tuple(found)


@cache
def _lines(kind: Shape) -> tuple[str, ...]:
    """Return what stands before each value of an exposition."""
    types: dict[str, str] = {row.series.metric: row.series.kind for row in reversed(kind.rows)}
    types |= {row.series.metric: "summary" for row in kind.rows if row.series.kind == "summary"}
    families = [row.series.metric for row in kind.rows for _ in range(_samples(row))]
    found, before = [], ""
    for family, (name, labels) in zip(families, keys(kind), strict=True):
        begin = f"\n# TYPE {family} {types[family]}\n" if family != before else "\n"
        text = ",".join(f'{label}="{_escaped(value)}"' for label, value in labels)
        found.append(f"{begin}{name}{{{text}}} ")
        before = family
    return tuple(found)


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def exposition(process: Process) -> bytes:
    """Return what the process answers to a scrape, in Prometheus' text format."""
    values = map(_number, process.samples())
    parts = [part for pair in zip(_lines(process.shape), values, strict=True) for part in pair]
    return ("".join(parts).lstrip("\n") + "\n").encode()


def _number(value: float) -> str:
    text = repr(value)
    return {"nan": "NaN", "inf": "+Inf", "-inf": "-Inf"}.get(text, text)


class Cluster:
    """Processes of one cluster, scraped at the same interval with phases of their own."""

    def __init__(self, name: str, shapes: list[Shape], *, interval_ms: int, seed: int) -> None:
        self.name, self.interval_ms = name, interval_ms
        self.processes = [Process(one, seed * 1_000 + i) for i, one in enumerate(shapes)]
        step_ms = interval_ms // len(shapes)
        self._phases_ms = [i * step_ms + step_ms // 3 for i in range(len(shapes))]
        self._t_ms = shapes[0].begin_ms

    def cycle(self) -> Iterator[tuple[Process, ScrapeEnvelope, list[bytes]]]:
        """Scrape each process once; yield it with its records, in the order of time."""
        for process, phase_ms in zip(self.processes, self._phases_ms, strict=True):
            process.advance(self.interval_ms / 1000)
            envelope = self._envelope(process, self._t_ms + phase_ms)
            yield process, envelope, process.records(envelope)
        self._t_ms += self.interval_ms

    def _envelope(self, process: Process, t_ms: int) -> ScrapeEnvelope:
        instance = self.instance(self.processes.index(process))
        return envelope_of(self.name, process.shape.job, instance, t_ms, self.interval_ms)

    def instance(self, number: int) -> str:
        """Return the label of a process."""
        return f"10.0.0.{number}:443"
