"""Sum the growth of series over label sets, while scrapes come in. In: the rows of one target that
a selector reads. Out: groups of rows, their slots, and the vector that a window shows of them.

The rules this file owns:
- `sum by (a) (rate(x[w]))` needs one number a group, not one a series: a group has a slot, or one
  for each bucket where `le` is kept. `without ()` keeps each series by itself: one path for both.
- Groups are only ever added, until rows are forgotten; so arrays that were made for a layout stay
  good, and a group that lost its rows still shows what it grew by while a window reaches back.
"""

from dataclasses import dataclass, field
from typing import Final

import numpy as np

from streams.core.promql.labels import (
    NAME,
    Codes,
    Floats,
    Grouping,
    Index,
    Labels,
    Mask,
    Strings,
    factorize,
)
from streams.core.promql.past import GroupsPast, columns_of, table_of
from streams.core.promql.selectors import Folded, Selector
from streams.core.promql.series import Series, expand
from streams.core.promql.views import Block, View, bounds_of, joined

WHOLE: Final = -1
"""Shape of a group that has one slot; others have the shape of their histograms."""


EACH_SERIES: Final = Grouping(by=False)


@dataclass(frozen=True, slots=True)
class Accumulator:
    """What is summed: the growth of the series of a selector, by label sets."""

    selector: Selector
    grouping: Grouping = EACH_SERIES
    _hash: int = field(init=False, repr=False, compare=False)  # it is looked up very often

    def __post_init__(self) -> None:
        object.__setattr__(self, "_hash", hash((self.selector, self.grouping)))

    def __hash__(self) -> int:
        return self._hash

    def __str__(self) -> str:
        kind = "by" if self.grouping.by else "without"
        return f"{self.selector} {kind} ({', '.join(sorted(self.grouping.labels))})"

    @property
    def in_buckets(self) -> bool:
        """Whether a group keeps its buckets apart, where its rows are histograms."""
        folded = self.selector.folded
        return folded is not None and folded[1] is Folded.BUCKET and self.grouping.keeps("le")


@dataclass(frozen=True, slots=True)
class Feed:
    """Where one layout feeds the slots: slot[i] grows by weight[i] x growth[source[i]]."""

    source: Index  # positions among the counted values
    slot: Index
    weight: Floats


@dataclass(slots=True)
class Groups:
    """The groups of one accumulator on one target."""

    what: Accumulator
    selector: Selector  # without what the target's labels settle
    rows: Index = field(default_factory=lambda: np.zeros(0, np.int64))  # of Series
    of: Index = field(default_factory=lambda: np.zeros(0, np.int64))  # group of each row
    shapes: Index = field(default_factory=lambda: np.zeros(0, np.int64))  # of each group
    slot: Index = field(default_factory=lambda: np.zeros(0, np.int64))  # its first
    width: Index = field(default_factory=lambda: np.zeros(0, np.int64))  # slots of each group
    born_ms: Floats = field(default_factory=lambda: np.zeros(0))  # of its forgotten rows
    ended_ms: Floats = field(default_factory=lambda: np.zeros(0))  # of its forgotten rows
    columns: dict[str, Codes] = field(default_factory=dict)  # kept labels of each group
    since_ms: int = 0  # of the first scrape that was counted
    rowless: bool = False  # whether a group may have no row
    _numbers: dict[tuple[int, ...], int] = field(default_factory=dict)
    _view: tuple[int, View] | None = None

    @property
    def n(self) -> int:
        """How many groups there are."""
        return len(self.shapes)

    def add(self, series: Series, fresh: Index, strings: Strings, slots: int) -> int:
        """Take the fresh rows that match; return how many slots are taken now.

        slots: how many were taken in the bank.
        """
        for rows, shapes in self._matching(series, fresh, strings):
            slots = self._group(series, rows, shapes, strings, slots)
        return slots

    def _matching(
        self, series: Series, fresh: Index, strings: Strings
    ) -> list[tuple[Index, Index]]:
        """Return the fresh rows that are counted, with the shape of the group of each."""
        names, shapes = series.columns[NAME][fresh], series.shapes[fresh]
        folded = shapes != -1  # SCALAR
        plain = fresh[(names == strings.code(self.selector.name)) & ~folded]
        found = [self._hit(series, plain, strings, le=True)]
        if self.selector.folded is not None:
            family, what = self.selector.folded
            rows = fresh[(names == strings.code(family)) & folded]
            if what is Folded.BUCKET:
                rows = rows[series.shapes[rows] >= 0]  # a summary has none
            found.append(self._hit(series, rows, strings, le=what is not Folded.BUCKET))
        apart = self.what.in_buckets
        return [
            (rows, np.where((series.shapes[rows] >= 0) & apart, series.shapes[rows], WHOLE))
            for rows in found
            if len(rows)
        ]

    def _hit(self, series: Series, rows: Index, strings: Strings, *, le: bool) -> Index:
        if not len(rows):
            return rows
        return rows[self.selector.mask(series.labels(rows), strings, le=le)]

    def _group(
        self, series: Series, rows: Index, shapes: Index, strings: Strings, slots: int
    ) -> int:
        """Number the groups of new rows, new ones at the end."""
        kept = [name for name in series.columns if name != NAME and self.what.grouping.keeps(name)]
        some = {name: series.columns[name][rows] for name in sorted(kept)}
        some = {name: codes for name, codes in some.items() if codes.any()}
        ids, first = factorize([shapes.astype(np.int32) - WHOLE, *some.values()], len(rows))
        known = self.n
        numbers = np.zeros(len(first), np.int64)
        fresh: list[int] = []
        for i, row in enumerate(first.tolist()):
            key = [int(shapes[row])]
            for name, codes in some.items():
                if codes[row]:
                    key += (strings.code(name), int(codes[row]))
            number = self._numbers.setdefault(tuple(key), len(self._numbers))
            numbers[i] = number
            if number >= known:
                fresh.append(row)
        self._extend({name: codes[fresh] for name, codes in some.items()}, len(fresh))
        widths = series.widths[rows[fresh]]
        width = np.where(shapes[fresh] == WHOLE, 1, widths - 2)
        self.shapes = np.concatenate([self.shapes, shapes[fresh]])
        self.slot = np.concatenate([self.slot, slots + np.cumsum(width) - width])
        self.width = np.concatenate([self.width, width])
        self.born_ms = np.concatenate([self.born_ms, np.full(len(fresh), np.inf)])
        self.ended_ms = np.concatenate([self.ended_ms, np.full(len(fresh), -np.inf)])
        self.rows = np.concatenate([self.rows, rows])
        self.of = np.concatenate([self.of, numbers[ids]])
        return slots + int(width.sum())

    def _extend(self, columns: dict[str, Codes], more: int) -> None:
        before = self.n
        for name in {*self.columns, *columns}:
            old = self.columns.get(name, np.zeros(before, np.int32))
            new = columns.get(name, np.zeros(more, np.int32))
            self.columns[name] = np.concatenate([old, new])

    def feed(self, series: Series, offset: Index, strings: Strings) -> list[Feed]:
        """Return how a layout feeds the slots.

        offset: (series.n,) where the counted values of a row begin in the layout, or -1.
        """
        here = np.flatnonzero(offset[self.rows] >= 0)
        rows, groups = self.rows[here], self.of[here]
        shapes, begin, slot = series.shapes[rows], offset[rows], self.slot[groups]
        folded = self.selector.folded
        buckets = (shapes >= 0) & (folded is not None and folded[1] is Folded.BUCKET)
        nth = 1 if folded is not None and folded[1] is Folded.COUNT else 0
        first = begin + np.where(shapes != -1, nth, 0)  # sum and count are those of folded rows
        one = ~buckets
        feeds = [Feed(first[one], slot[one], np.ones(int(one.sum())))] if one.any() else []
        for shape in np.unique(shapes[buckets]).tolist():
            rows_of = np.flatnonzero(buckets & (shapes == shape))
            bounds = bounds_of(strings, shape)
            width = np.full(len(rows_of), len(bounds))
            source = expand(begin[rows_of] + 2, width)
            if self.what.in_buckets:
                feeds.append(Feed(source, expand(slot[rows_of], width), np.ones(len(source))))
                continue
            # A bucket is part of every bound above it: it counts once for each that is asked for.
            asked = self.selector.bounds_mask(bounds)
            weight = np.cumsum(asked[::-1])[::-1].astype(np.float64)
            feeds.append(
                Feed(source, np.repeat(slot[rows_of], width), np.tile(weight, len(rows_of)))
            )
        return feeds

    def view(self, strings: Strings, constants: dict[str, int]) -> View:
        """Return the table of all groups with the target's own labels; View.rows are groups."""
        if self._view is None or self._view[0] != self.n:
            self._view = (self.n, self._look(strings, constants))
        return self._view[1]

    def _look(self, strings: Strings, constants: dict[str, int]) -> View:
        table = Labels(self.columns, self.n)
        whole = np.flatnonzero(self.shapes == WHOLE)
        parts = [View(table.take(whole), whole, (Block(self.slot[whole][:, None]),))]
        for shape in np.unique(self.shapes[self.shapes != WHOLE]).tolist():
            groups = np.flatnonzero(self.shapes == shape)
            bounds = bounds_of(strings, shape)
            mask = self.selector.bounds_mask(bounds)
            chosen = strings.codes(bounds)[mask]
            labels = table.take(np.repeat(groups, len(chosen)))
            columns = {**labels.columns, "le": np.tile(chosen, len(groups)).astype(np.int32)}
            index = self.slot[groups][:, None] + np.arange(len(bounds))
            view = View(
                Labels(columns, labels.n), np.repeat(groups, len(chosen)), (Block(index, mask),)
            )
            parts.append(view)
        own = {name: code for name, code in constants.items() if self.what.grouping.keeps(name)}
        return joined(parts, None, own)

    def shown(
        self, present: Mask, coverage: Floats, begin_ms: int, newest_ms: int
    ) -> tuple[Mask, Floats]:
        """Return which groups a window shows, and how far each was watched.

        present, coverage: of each row of Series; begin_ms: of the window; newest_ms: its last
        scrape.
        """
        here = present[self.rows]
        groups = self.of if here.all() else self.of[here]
        count = np.bincount(groups, minlength=self.n)
        covered = coverage[self.rows] if here.all() else coverage[self.rows[here]]
        total = np.bincount(groups, covered, self.n)
        there = count > 0
        mean = np.divide(total, count, out=np.ones(self.n), where=there)
        ended_ms = np.minimum(self.ended_ms, newest_ms)  # as rows show: restored ones go on
        forgotten = (ended_ms > begin_ms) & (self.born_ms < newest_ms)
        return there | forgotten, mean

    def past(self, series: Series, t_ms: int, strings: Strings) -> GroupsPast:
        """Return the groups as they are kept in the table."""
        born, dead = series.born_ms[self.rows], np.minimum(series.dead_ms[self.rows], t_ms)
        born_ms, ended_ms = self.born_ms.copy(), self.ended_ms.copy()
        np.minimum.at(born_ms, self.of, born)
        np.maximum.at(ended_ms, self.of, np.where(dead > born, dead, -np.inf))
        return GroupsPast(
            str(self.what),
            self.since_ms,
            table_of(self.columns, self.n, strings),
            [None if one == WHOLE else strings.text(one) for one in self.shapes.tolist()],
            self.slot.tolist(),
            self.width.tolist(),
            born_ms.tolist(),
            ended_ms.tolist(),
        )

    def restore(self, past: GroupsPast, strings: Strings, slots: int) -> Index:
        """Take the groups of before; return their old slots, whose new ones begin at `slots`."""
        self.since_ms, self.rowless = past.since_ms, True
        self.columns = columns_of(past.table, strings)
        shapes = [WHOLE if one is None else strings.code(one) for one in past.bounds]
        self.shapes, self.width = np.array(shapes, np.int64), np.array(past.width, np.int64)
        self.born_ms = np.array(past.born_ms, np.float64)
        self.ended_ms = np.array(past.ended_ms, np.float64)
        self.slot = slots + np.cumsum(self.width) - self.width
        for number, shape in enumerate(shapes):
            key = [shape]
            for name in past.table.names:
                if code := int(self.columns[name][number]):
                    key += (strings.code(name), code)
            self._numbers[tuple(key)] = number
        return expand(np.array(past.slot, np.int64), self.width)

    def keep(self, rows: Index, series: Series, before_ms: float, slots: int) -> Index:
        """Forget rows and groups; return the old slots that are kept, in the new order.

        rows: the new number of each row of the series, or -1; before_ms: no window begins before;
        slots: how many are taken by others before.
        """
        self.rowless = True
        gone = rows[self.rows] < 0
        np.minimum.at(self.born_ms, self.of[gone], series.born_ms[self.rows[gone]])
        np.maximum.at(self.ended_ms, self.of[gone], series.dead_ms[self.rows[gone]])
        self.rows, self.of = rows[self.rows[~gone]], self.of[~gone]
        alive = self.ended_ms >= before_ms
        alive[self.of] = True
        left = np.flatnonzero(alive)
        number = np.full(self.n, -1)
        number[left] = np.arange(len(left))
        kept = expand(self.slot[left], self.width[left])
        self.of = number[self.of]
        self.columns = {name: codes[left] for name, codes in self.columns.items()}
        self.shapes, self.born_ms = self.shapes[left], self.born_ms[left]
        self.ended_ms = self.ended_ms[left]
        self.width = self.width[left]
        self.slot = slots + np.cumsum(self.width) - self.width
        self._numbers = {
            key: int(number[old]) for key, old in self._numbers.items() if number[old] >= 0
        }
        self._view = None
        return kept
