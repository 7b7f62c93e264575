"""Compute indicators a second time, slowly and plainly, from the captured expositions alone.

In: the scrapes of each target, as text, with the time that each was sent. Out: values to hold
against what went through producers, streams and sinks. Rule: nothing of ours is used here; the
parser is prometheus_client's, and every formula is written out again from DESIGN section 5.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache

from prometheus_client.parser import text_string_to_metric_families

Labels = frozenset[tuple[str, str]]
Key = tuple[str, Labels]
FOLDED = ("_bucket", "_sum", "_count")


@cache
def samples(body: bytes) -> dict[Key, float]:
    """Return every sample of an exposition."""
    found: dict[Key, float] = {}
    for family in text_string_to_metric_families(body.decode()):
        for sample in family.samples:
            found.setdefault((sample.name, frozenset(sample.labels.items())), sample.value)
    return found


@cache
def folded_rows(body: bytes) -> int:
    """Return the rows of an exposition: a histogram is one, a summary one and its quantiles."""
    rows: set[tuple[str, Labels]] = set()
    for family in text_string_to_metric_families(body.decode()):
        for sample in family.samples:
            labels = dict(sample.labels)
            name = sample.name
            if family.type in {"histogram", "summary"} and name.endswith(FOLDED):
                labels.pop("le", None)
                name = family.name
            rows.add((name + str("quantile" in labels), frozenset(labels.items())))
    return len(rows)


@dataclass(frozen=True, slots=True)
class Scraped:
    """One scrape that succeeded."""

    start_ms: int
    body: bytes


class Target:
    """The scrapes of one target in order, none failed in between, no process restarted."""

    def __init__(self, labels: Mapping[str, str], scrapes: Iterable[Scraped]) -> None:
        self.labels = dict(labels)
        self.scrapes = tuple(scrapes)

    def newest(self, t_ms: int) -> int | None:
        """Return the number of the newest scrape at or before `t_ms`."""
        known = [n for n, scrape in enumerate(self.scrapes) if scrape.start_ms <= t_ms]
        return known[-1] if known else None

    def increase(self, key: Key, t_ms: int, window_ms: int) -> float:
        """Return C(end) - C(end - window): linear between scrapes, from zero for a new series."""
        last = self.newest(t_ms)
        assert last is not None
        end_ms = self.scrapes[last].start_ms
        return self._total(key, end_ms) - self._total(key, end_ms - window_ms)

    def _total(self, key: Key, t_ms: float) -> float:
        total, before = 0.0, self.scrapes[0]
        for after in self.scrapes[1:]:
            if t_ms <= before.start_ms:
                break
            old = samples(before.body).get(key, 0.0)  # the scrape before was complete
            new = samples(after.body).get(key)
            assert new is None or new >= old, f"{key} was reset"
            share = min(1.0, (t_ms - before.start_ms) / (after.start_ms - before.start_ms))
            total += share * ((old if new is None else new) - old)
            before = after
        return total


Choose = Callable[[dict[str, str]], bool]
Group = tuple[tuple[str, str], ...]


def summed_rate(
    targets: Iterable[Target],
    metric: str,
    choose: Choose,
    by: tuple[str, ...],
    *,
    t_ms: int,
    window_ms: int,
) -> dict[Group, float]:
    """Return sum by (by) (rate(metric[window])) of the chosen series."""
    sums: dict[Group, float] = defaultdict(float)
    for target in targets:
        if not (last := target.newest(t_ms)):
            continue  # a rate needs two scrapes
        for key in samples(target.scrapes[last].body):
            labels = dict(key[1]) | target.labels
            if key[0] == metric and choose(labels):
                group = tuple((name, labels[name]) for name in by if labels.get(name))
                sums[group] += target.increase(key, t_ms, window_ms) / (window_ms / 1000)
    return dict(sums)


def summed_gauge(
    targets: Iterable[Target], metric: str, choose: Choose, by: tuple[str, ...], *, t_ms: int
) -> dict[Group, float]:
    """Return sum by (by) (metric) of the chosen series at the newest scrape of each target."""
    sums: dict[Group, float] = defaultdict(float)
    for target in targets:
        if (last := target.newest(t_ms)) is None:
            continue
        for (name, pairs), value in samples(target.scrapes[last].body).items():
            labels = dict(pairs) | target.labels
            if name == metric and choose(labels):
                sums[tuple((one, labels[one]) for one in by if labels.get(one))] += value
    return dict(sums)


def quantile(share: float, rates: Mapping[Group, float]) -> dict[Group, float]:
    """Return histogram_quantile(share, ...) of rates whose groups end with le."""
    histograms: dict[Group, list[tuple[float, float]]] = defaultdict(list)
    for group, rate in rates.items():
        rest = tuple(pair for pair in group if pair[0] != "le")
        histograms[rest].append((float(dict(group)["le"]), rate))
    return {rest: _quantile(share, sorted(edges)) for rest, edges in histograms.items()}


def _quantile(share: float, edges: list[tuple[float, float]]) -> float:
    """Linear within the bucket that holds the rank; the last finite edge beyond it."""
    total = edges[-1][1]
    if not total:
        return math.nan
    rank, lower, below = share * total, 0.0, 0.0
    for edge, count in edges:
        if count >= rank:
            if math.isinf(edge):
                return lower
            return lower + (edge - lower) * (rank - below) / (count - below)
        lower, below = edge, count
    raise AssertionError("a rank is never above the total")
