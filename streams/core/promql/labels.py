"""Hold label sets as columns of numbers. In: names and texts. Out: tables that group and match
fast.

The rule this file owns: a text has one code within a cluster, and code 0 is "", the absent label.
A table never changes, so what was computed from it (groups, matches) is remembered beside it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.int32]
Index = NDArray[np.int64]
Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]

NAME: Final = "__name__"
PLANS_MAX: Final = 1_000
"""Remembered plans of one table. Beyond it all are forgotten and made again: correct, slower."""
OTHERS_MAX: Final = 32
"""Other tables with which plans of one table are remembered: they are changed for new ones."""

T = TypeVar("T")


class Strings:
    """The texts of one cluster's labels and their codes."""

    __slots__ = ("_codes", "_texts")

    def __init__(self) -> None:
        self._texts = [""]
        self._codes = {"": 0}

    def __len__(self) -> int:
        return len(self._texts)

    def code(self, text: str) -> int:
        """Return the code of `text`, a new one if need be."""
        code = self._codes.get(text)
        if code is None:
            code = self._codes[text] = len(self._texts)
            self._texts.append(text)
        return code

    def codes(self, texts: Iterable[str]) -> Codes:
        """Return the codes of many texts."""
        return np.fromiter(map(self.code, texts), np.int32)

    def text(self, code: int) -> str:
        """Return the text of a code."""
        return self._texts[code]


class Labels:
    """A table of label sets: one column of codes per label name, names sorted."""

    __slots__ = ("_plans", "columns", "n", "names")

    def __init__(self, columns: Mapping[str, Codes], n: int) -> None:
        self.names = tuple(sorted(columns))
        self.columns = {name: columns[name] for name in self.names}
        self.n = n
        self._plans: dict[object, object] = {}

    def once(self, key: object, make: Callable[[], T]) -> T:
        """Return what `make` returned the first time for `key` on this table."""
        if key not in self._plans:
            if len(self._plans) >= PLANS_MAX:
                self._plans.clear()
            self._plans[key] = make()
        return cast(T, self._plans[key])

    def latest(self, kind: object, key: object, make: Callable[[], T]) -> T:
        """Return what `make` returned for the same key the last time; one key of a kind is kept."""
        before = cast(tuple[object, T] | None, self._plans.get(kind))
        if before is None or before[0] != key:
            before = (key, make())
            self._plans[kind] = before
        return before[1]

    def beside(self, kind: object, others: object, make: Callable[[], T]) -> T:
        """Return what `make` returned the first time for other tables, among the last ones used."""
        known = self.once(kind, dict[object, T])
        found = known.pop(others) if others in known else make()
        while len(known) >= OTHERS_MAX:
            del known[next(iter(known))]
        known[others] = found
        return found

    @property
    def ones(self) -> tuple[Mask, Floats]:
        """All rows are present, and all are fully covered; nobody may write to them."""
        return self.once("ones", lambda: (np.ones(self.n, np.bool_), np.ones(self.n)))

    def column(self, name: str) -> Codes:
        """Return the codes of a label; all 0 where the table lacks it."""
        found = self.columns.get(name)
        return np.zeros(self.n, np.int32) if found is None else found

    def keep(self, names: Iterable[str]) -> "Labels":
        """Return the table with these labels only."""
        wanted = frozenset(names)
        return self._narrow(frozenset(self.names) - wanted)

    def drop(self, names: Iterable[str]) -> "Labels":
        """Return the table without these labels."""
        return self._narrow(frozenset(self.names) & frozenset(names))

    def _narrow(self, gone: frozenset[str]) -> "Labels":
        if not gone:
            return self
        left = {name: self.columns[name] for name in self.names if name not in gone}
        return self.once(("drop", gone), lambda: Labels(left, self.n))

    def take(self, rows: Index) -> "Labels":
        """Return the rows at these positions."""
        return Labels({name: codes[rows] for name, codes in self.columns.items()}, len(rows))

    def replace(self, values: Mapping[str, int]) -> "Labels":
        """Return the table with the same code of a label in every row; 0 takes the label away."""
        key = ("replace", tuple(sorted(values.items())))
        return self.once(key, lambda: self._replaced(values))

    def _replaced(self, values: Mapping[str, int]) -> "Labels":
        columns = dict(self.columns)
        for name, code in values.items():
            columns.pop(name, None)
            if code:
                columns[name] = np.full(self.n, code, np.int32)
        return Labels(columns, self.n)

    def group(self, names: Iterable[str]) -> tuple["Labels", Index]:
        """Return the distinct sets of these labels, and for each row the number of its set."""
        wanted = tuple(sorted(set(names) & set(self.names)))
        return self.once(("group", wanted), lambda: self._grouped(wanted))

    def _grouped(self, names: Sequence[str]) -> tuple["Labels", Index]:
        ids, first = factorize([self.columns[name] for name in names], self.n)
        return Labels({name: self.columns[name][first] for name in names}, len(first)), ids

    def row(self, i: int, strings: Strings) -> dict[str, str]:
        """Return one label set as texts, absent labels left out."""
        return {
            name: strings.text(int(codes[i])) for name, codes in self.columns.items() if codes[i]
        }


EMPTY: Final = Labels({}, 0)


@dataclass(frozen=True, slots=True)
class Grouping:
    """The labels that make groups: `by` them, or `without`, by all others but the metric name."""

    labels: frozenset[str] = frozenset()
    by: bool = True

    def keeps(self, label: str) -> bool:
        """Tell whether groups differ by this label."""
        return (label in self.labels) == self.by and (self.by or label != NAME)

    def groups(self, labels: Labels) -> tuple[Labels, Index]:
        """Return the label sets of the groups of a table, and for each row its group."""
        return labels.group(name for name in labels.names if self.keeps(name))


def factorize(columns: Sequence[Codes], n: int) -> tuple[Index, Index]:
    """Number the distinct rows of `columns`.

    Returns (n,) the number of each row's set, and (groups,) the first row of each set.
    """
    if n == 0 or not columns:
        return np.zeros(n, np.int64), np.zeros(min(n, 1), np.int64)
    key, span = np.zeros(n, np.int64), 1
    for codes in columns:
        width = int(codes.max()) + 1
        if span > (1 << 62) // width:  # the combined key would overflow: number what we have
            key = np.unique(key, return_inverse=True)[1].reshape(-1)
            span = int(key.max()) + 1
        key, span = key * width + codes, span * width
    _, first, ids = np.unique(key, return_index=True, return_inverse=True)
    return ids.reshape(-1).astype(np.int64), first.astype(np.int64)


def stack(tables: Sequence[Labels]) -> Labels:
    """Return the rows of all tables, one after the other."""
    if len(tables) == 1:
        return tables[0]
    if not tables:
        return EMPTY
    first, rest = tables[0], tuple(tables[1:])
    return first.beside("stack", rest, lambda: _stacked(tables))


def _stacked(tables: Sequence[Labels]) -> Labels:
    names = sorted({name for table in tables for name in table.names})
    columns: dict[str, Any] = {
        name: np.concatenate([table.column(name) for table in tables]) for name in names
    }
    return Labels(columns, sum(table.n for table in tables))
