"""Hold the samples of one target. In: its scrapes in tick order. Out: instant values, increases and
samples as of any time in its history.

The rules this file owns:
- A failed scrape takes the instant values away at once; windows go on with what they hold. A
  skipped tick is no news: the values stay while they are fresh.
- A window of a counter ends at the target's newest sample while that is fresh (2.5 intervals),
  else at the time of evaluation.
- `up` is 1 for an answer, whole or too big, and 0 for anything else. A skipped tick is no news
  here either: what came before it stands while it is fresh.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Final

import numpy as np
import pyarrow as pa

from schemas.arrow import SCRAPE_SCHEMA, empty_rows
from schemas.records import Outcome, ScrapeEnvelope
from streams.core.promql import columns, views
from streams.core.promql.accumulators import Accumulator
from streams.core.promql.attempts import FRESH_INTERVALS, Attempt, Attempts
from streams.core.promql.counters import Counters
from streams.core.promql.labels import NAME, Floats, Index, Labels, Mask, Strings
from streams.core.promql.layout import Layout, flat, lay_out
from streams.core.promql.past import Past
from streams.core.promql.ring import Matrix, Ring
from streams.core.promql.selectors import Selector
from streams.core.promql.series import Series
from streams.core.promql.sums import Sums, Totals
from streams.core.promql.vector import NOTHING, Vector, vector
from streams.core.promql.wanted import LOOKBACK_MS, SYNTHETIC, Wanted
from streams.core.samples import Scrape

RESTART_MS: Final = 2_000
"""A process start time that moves less is the same process: kernels derive it from the clock."""
SKEW_MS: Final = 60_000
"""How much the clocks of producers and servers may differ. A process that started longer than this
before the one before it last answered is none that was restarted, but another one behind the same
address: what it counted before is not news."""
LAYOUTS_MAX: Final = 8


class Target:
    """The selected series of one endpoint."""

    def __init__(
        self, labels: Mapping[str, str], wanted: Wanted, strings: Strings, *, main: bool
    ) -> None:
        self.labels = dict(labels)
        self._main = main  # whether it makes `up`
        self._strings = strings
        self._constants = {name: strings.code(text) for name, text in self.labels.items()}
        self._counted = self._own(what.selector for what in wanted.accumulators)
        self._instant = self._own([*wanted.instant, *wanted.ranges, *wanted.sums])
        self._rings = {
            one: Ring(back_ms + wanted.late_ms)
            for one, back_ms in wanted.ranges.items()
            if one in self._instant
        }
        every = [*self._counted.values(), *self._instant.values()]
        self._families = {one.name for one in every} | {
            one.folded[0] for one in every if one.folded is not None
        }
        self._sums = {
            one: Sums(back_ms + wanted.late_ms)
            for one, back_ms in wanted.sums.items()
            if one in self._instant
        }
        self._long = {one: self._rings[one] for one in self._rings if wanted.long(one)}
        self._counters = Counters(
            wanted.accumulators, self._counted, strings, late_ms=wanted.late_ms
        )
        self._attempts = Attempts(LOOKBACK_MS + wanted.late_ms)
        self._layouts: dict[object, Layout] = {}
        self._recent: dict[Selector, tuple[Series, views.View]] = {}  # the newest instant ones
        self._rows: dict[Selector, tuple[Series, int, Index]] = {}
        self._vectors: dict[object, Vector] = {}  # since the newest scrape
        self._synthetics: dict[str, Labels] = {}
        self.first_ms = 0  # of its first answer
        self._scrapes = 0  # taken so far
        self._tick_ms = -1
        self._process_start_ms = 0
        self._answered_ms = 0
        self._filter = ""

    def _own(self, selectors: Iterable[Selector]) -> dict[Selector, Selector]:
        """Return the selectors that can match here, without what the target's labels settle."""
        return {
            one: replace(one, matchers=tuple(m for m in one.matchers if m.label not in self.labels))
            for one in selectors
            if one.accepts(self.labels)
        }

    @property
    def long(self) -> bool:
        """Whether anything reaches back further than a replay."""
        return bool(self._long or self._sums) or self._counters.long

    def past(self) -> Past:
        """Return what reaches back further than a replay; as texts, for another process."""
        rings = [ring.past(str(one), self._strings) for one, ring in self._long.items()]
        sums = [one.past(str(what), self._strings) for what, one in self._sums.items()]
        return Past(self.first_ms, self._counters.past(), rings, sums)

    def restore(self, past: Past) -> None:
        """Take the past of before, before the first scrape is taken."""
        self.first_ms = past.first_ms
        self._counters.restore(past.banks)
        rings = {str(one): ring for one, ring in self._long.items()}
        for one in past.rings:
            if ring := rings.get(one.what):
                ring.restore(one, self._strings)
        sums = {str(one): kept for one, kept in self._sums.items()}
        for each in past.sums:
            if kept := sums.get(each.what):
                kept.restore(each, self._strings)

    def accept(self, scrape: Scrape) -> None:
        """Take a scrape; one that is not newer than the last changes nothing."""
        envelope = scrape.envelope
        if envelope.tick_ms <= self._tick_ms:
            return
        self._tick_ms = envelope.tick_ms
        attempt = Attempt(
            max(envelope.start_ms, self.newest_ms + 1),
            envelope.interval_ms,
            envelope.outcome,
            max(envelope.end_ms - envelope.start_ms, 0) / 1000,
            envelope.series,
        )
        if attempt.answered:
            attempt = self._read(scrape, attempt)
        self._attempts.add(attempt)
        self._scrapes += 1
        self._vectors.clear()
        if attempt.outcome is not Outcome.SKIPPED:
            for kept in (self._rings, self._sums):
                for selector, one in kept.items():
                    one.add(attempt.start_ms, self._sampled(selector, attempt))
        if self._counters.forget(attempt.start_ms):
            self._layouts.clear()
            self._rows.clear()

    def _read(self, scrape: Scrape, attempt: Attempt) -> Attempt:
        envelope, values = scrape.envelope, flat(scrape.rows)
        other = self._other_process(envelope)
        restarted = other and envelope.process_start_ms > self._answered_ms - SKEW_MS
        same = self._filter == envelope.family_filter and not other
        before = self._attempts.tried
        whole = before is not None and before.outcome is Outcome.OK
        layout = self._layout(scrape, values)
        self.first_ms = self.first_ms or attempt.start_ms
        self._counters.count(
            layout,
            values,
            attempt.start_ms,
            watched=same and whole,
            restarted=restarted,
            replaced=other and not restarted,
        )
        self._process_start_ms = envelope.process_start_ms or self._process_start_ms
        self._answered_ms = envelope.start_ms
        self._filter = envelope.family_filter
        return replace(attempt, layout=layout, values=values[layout.instant])

    def _sampled(self, selector: Selector, attempt: Attempt) -> Vector:
        """Return what an attempt adds to the ring of a selector."""
        if attempt.outcome is Outcome.REMOVED:
            return NOTHING
        if self._main and selector.name in SYNTHETIC:
            return self._synthetic_of(selector, attempt)
        if attempt.layout is None or attempt.values is None:
            return NOTHING
        view = self._instant_view(selector, attempt.layout)
        return vector(view.labels, view.gather(attempt.values))

    def _other_process(self, envelope: ScrapeEnvelope) -> bool:
        if not envelope.process_start_ms or not self._process_start_ms:
            return False
        return abs(envelope.process_start_ms - self._process_start_ms) > RESTART_MS

    def _layout(self, scrape: Scrape, values: Floats) -> Layout:
        envelope = scrape.envelope
        # Bounds are not part of a layout's hash, but only another process can have others.
        process = (envelope.process_start_ms, envelope.kubernetes_version)
        key = (scrape.layout, len(values), process)
        if key not in self._layouts:
            while len(self._layouts) >= LAYOUTS_MAX:
                del self._layouts[next(iter(self._layouts))]
            self._layouts[key] = self._compile(_batch(scrape.rows), envelope.kubernetes_version)
        return self._layouts[key]

    def _compile(self, rows: pa.RecordBatch, version: str) -> Layout:
        found = columns.read(
            rows,
            wanted=self._families,
            reserved=self.labels,
            version=version,
            strings=self._strings,
        )
        counted = found.matching(self._counted.values(), self._strings)
        instant = found.matching(self._instant.values(), self._strings)
        chosen = np.flatnonzero(counted | instant)
        series = self._counters.series
        mine, fresh = series.rows(found, chosen, counted[chosen])
        mine, chosen = mine[mine >= 0], chosen[mine >= 0]
        return lay_out(
            rows,
            series,
            rows=mine,
            fresh=fresh,
            at=found.rows[chosen],
            counted=counted[chosen],
            instant=instant[chosen],
        )

    def reads(self, selector: Selector) -> bool:
        """Tell whether the selector can match here."""
        return selector in self._counted or selector in self._instant

    def stamp(self, t_ms: int) -> int:
        """Return what changes whenever the present values do; 0 where time alone may do it."""
        newest = self._attempts.newest
        if newest is None or newest.outcome is not Outcome.OK:
            return 0
        settled = newest.fresh(t_ms) and t_ms - newest.start_ms < LOOKBACK_MS
        return self._scrapes if settled else 0

    @property
    def removed(self) -> bool:
        """Whether the target left the configuration."""
        newest = self._attempts.newest
        return newest is not None and newest.outcome is Outcome.REMOVED

    @property
    def newest_ms(self) -> int:
        """Start of the newest scrape, whatever became of it."""
        newest = self._attempts.newest
        return newest.start_ms if newest is not None else -1

    @property
    def refused(self) -> int:
        """Series that were not kept for want of room, since the beginning."""
        return self._counters.series.refused

    def instant(self, selector: Selector, t_ms: int, *, live: bool) -> Vector:
        """Return the values that the selector reads now (live), or read at `t_ms`."""
        if self._main and selector.name in SYNTHETIC:
            attempt = self._attempts.judged(t_ms, live=live)
            if attempt is None or t_ms - attempt.start_ms >= LOOKBACK_MS:
                return NOTHING
            return self._kept((selector, attempt), lambda: self._synthetic_of(selector, attempt))
        found = self._attempts.answer(t_ms, live=live) if selector in self._instant else None
        if found is None:
            return NOTHING
        return self._kept((selector, found), lambda: self._sampled(selector, found))

    def _kept(self, key: object, make: Callable[[], Vector]) -> Vector:
        """Return the same vector for the same key, until the next scrape."""
        if key not in self._vectors:
            self._vectors[key] = make()
        return self._vectors[key]

    def earlier(self, selector: Selector, t_ms: int) -> Vector:
        """Return the values that the selector read at a time that rings remember."""
        ring = self._rings.get(selector)
        return NOTHING if ring is None else ring.at(t_ms, LOOKBACK_MS)

    def totals(self, selector: Selector, begin_ms: int, end_ms: int) -> Totals | None:
        """Return what the samples of a selector in (begin, end] add up to."""
        sums = self._sums.get(selector)
        return None if sums is None else sums.window(begin_ms, end_ms)

    def samples(self, selector: Selector, begin_ms: int, end_ms: int) -> Matrix | None:
        """Return the samples of a selector in (begin, end]."""
        ring = self._rings.get(selector)
        return None if ring is None else ring.window(begin_ms, end_ms)

    def increase(self, what: Accumulator, width_ms: int, t_ms: int, *, live: bool) -> Vector:
        """Return what the series grew by over a window that ends now (live), or at `t_ms`."""
        counters, attempt = self._counters, self._attempts.at(t_ms, live=live)
        if not counters.counts(what):
            return NOTHING
        newest_ms = counters.newest_ms if live else counters.newest_at(t_ms, what)
        if newest_ms < 0:
            return NOTHING
        oldest = attempt or self._attempts.oldest
        if oldest is None or (attempt is None and t_ms >= oldest.start_ms):
            return NOTHING  # removed
        interval_ms = oldest.interval_ms
        fresh = t_ms - newest_ms <= FRESH_INTERVALS * interval_ms
        window = counters.window(newest_ms, newest_ms if fresh else t_ms, width_ms)
        if not fresh:  # no other evaluation asks for this window
            return counters.increase(what, window, self._constants)
        return self._kept(
            (what, window.begin_ms, window.end_ms, newest_ms),
            lambda: counters.increase(what, window, self._constants),
        )

    def matches(self, selector: Selector, wanted: Mapping[str, str], t_ms: int) -> bool:
        """Tell whether a fresh series of the selector agrees with the labels of an alert."""
        if self._main and selector.name in SYNTHETIC:
            latest = self._attempts.at(t_ms, live=True)
            if latest is None or not latest.fresh(t_ms):
                return False
            return bool(self._agrees(self._synthetic_of(selector, latest).labels, wanted).any())
        newest = self._attempts.answer(t_ms, live=True)
        if newest is None or not newest.fresh(t_ms):
            return False
        rows = self._rows_of(selector)
        wanted = {name: text for name, text in wanted.items() if name not in self.labels}
        return bool(self._agrees(self._counters.series.labels(rows), wanted).any())

    def answers(self, t_ms: int) -> bool:
        """Tell whether the newest scrape brought samples, and is fresh."""
        newest = self._attempts.answer(t_ms, live=True)
        return newest is not None and newest.fresh(t_ms)

    def has_series(self, selector: Selector) -> bool:
        """Tell whether a selector that accepts this target matches any series of it now."""
        if self._main and selector.name in SYNTHETIC:
            return self._only_own_labels(selector)
        return len(self._rows_of(selector)) > 0

    def _rows_of(self, selector: Selector) -> Index:
        """Return the rows behind a selector that are there now."""
        own = self._counted.get(selector) or self._instant.get(selector)
        series = self._counters.series
        if own is None:
            return np.zeros(0, np.int64)
        before = self._rows.get(selector)
        if before is None or before[0] is not series or before[1] != series.n:
            every = np.zeros(series.n, np.int64)
            look = views.Look(series, own, self._strings, every)
            self._rows[selector] = (series, series.n, look.rows())
        rows = self._rows[selector][2]
        return rows[np.isinf(series.dead_ms[rows])]

    def _agrees(self, labels: Labels, wanted: Mapping[str, str]) -> Mask:
        """Return which rows contradict none of the wanted labels."""
        agrees = np.ones(labels.n, np.bool_)
        for name, text in wanted.items():
            codes = labels.column(name)
            agrees &= (codes == 0) | (codes == self._strings.code(text))
        return agrees

    def _synthetic_of(self, selector: Selector, attempt: Attempt) -> Vector:
        """Return the series that an attempt makes, whatever it brought."""
        if not self._main or not selector.accepts(self.labels):
            return NOTHING
        if not self._only_own_labels(selector):
            return NOTHING
        value = {
            "up": float(attempt.answered),
            "scrape_duration_seconds": attempt.duration_s,
            "scrape_samples_scraped": float(attempt.samples),
        }[selector.name]
        return vector(self._named(selector.name), np.array([value]))

    def _only_own_labels(self, selector: Selector) -> bool:
        """Tell whether conditions on labels that the target lacks accept their absence."""
        return all(m.test()("") for m in selector.matchers if m.label not in self.labels)

    def _named(self, name: str) -> Labels:
        if name not in self._synthetics:
            constants = {NAME: self._strings.code(name), **self._constants}
            self._synthetics[name] = Labels({}, 1).replace(constants)
        return self._synthetics[name]

    def _instant_view(self, selector: Selector, layout: Layout) -> views.View:
        if selector not in layout.views:
            series, before = self._recent.get(selector, (None, None))
            first = layout.instant_at(layout.series.n)
            look = views.Look(layout.series, self._instant[selector], self._strings, first)
            same = before if series is layout.series else None
            layout.views[selector] = look.view(self._constants, same)
            self._recent[selector] = (layout.series, layout.views[selector])
        return layout.views[selector]


def _batch(rows: pa.RecordBatch | pa.Table) -> pa.RecordBatch:
    """Return rows of several chunks as one batch with one dictionary a column."""
    if isinstance(rows, pa.RecordBatch):
        return rows
    batches = rows.unify_dictionaries().combine_chunks().to_batches()
    return batches[0] if batches else empty_rows(SCRAPE_SCHEMA)
