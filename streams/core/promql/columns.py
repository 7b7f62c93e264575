"""Read the label columns of a scrape. In: Arrow rows of a new layout. Out: coded columns of the
rows that rules may want.

The rule this file owns: names are today's names (`schemas/eras.py`), labels that collide with those
of the target become `exported_...`, and all work is done once for each distinct text, not for each
row.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa

from schemas.eras import RENAMES, current_series, release
from schemas.records import Kind
from schemas.series import CORE_LABELS, parse_labels, series_id
from streams.core.promql.labels import NAME, Codes, Index, Labels, Mask, Strings
from streams.core.promql.selectors import Selector

SCALAR: Final = -1
SUMMARY: Final = -2
"""Shapes of rows. A histogram's shape is the code of its bounds: 0 and up."""

_FOLDED: Final = (Kind.HISTOGRAM, Kind.SUMMARY)


@dataclass(frozen=True, slots=True)
class Columns:
    """Some rows of a scrape, ready for selectors."""

    rows: Index  # positions in the scrape
    keys: list[int]  # ids of the series under current names
    labels: Labels  # with __name__ (of a histogram: the family), without those of the target
    shapes: Index
    widths: Index  # values of a row in a flat vector: 1, or sum, count and buckets

    def matching(self, selectors: Iterable[Selector], strings: Strings) -> Mask:
        """Return which rows at least one selector reads."""
        name, folded = self.labels.column(NAME), self.shapes != SCALAR
        found = np.zeros(len(self.rows), np.bool_)
        for selector in selectors:
            hit = (name == strings.code(selector.name)) & ~folded
            if selector.folded is not None:
                hit |= (name == strings.code(selector.folded[0])) & folded
            rows = np.flatnonzero(hit)
            found[rows] |= selector.mask(self.labels.take(rows), strings, le=False)
        return found


def read(
    scrape: pa.RecordBatch,
    *,
    wanted: Collection[str],
    reserved: Collection[str],
    version: str,
    strings: Strings,
) -> Columns:
    """Return the rows whose metric is `wanted` (a current name).

    reserved: label names that belong to the target; version: the server's, for old names.
    """
    old = _renamed_since(version)
    metrics = scrape.column("metric")
    names = metrics.dictionary.to_pylist()
    hit = np.fromiter(
        (name in wanted or (name in old and old[name] in wanted) for name in names), np.bool_
    )
    rows = np.flatnonzero(hit[_indices(metrics)]) if names else np.zeros(0, np.int64)
    rows = rows[_sound(scrape.take(pa.array(rows)))]
    some = scrape.take(pa.array(rows))
    columns = _label_columns(some, strings)
    keys = some.column("series").to_numpy().tolist()
    _translate(columns, keys, old, version, strings)
    for i in np.flatnonzero(columns.get("le", rows[:0])).tolist():
        keys[i] |= int(columns["le"][i]) << 64  # a bucket without its histogram: ids ignore `le`
    renamed = {f"exported_{name}" if name in reserved else name: columns[name] for name in columns}
    shapes, widths = _shapes(some, strings)
    return Columns(rows, keys, Labels(renamed, len(rows)), shapes, widths)


def _indices(column: pa.DictionaryArray) -> Index:
    return np.asarray(column.indices.to_numpy(zero_copy_only=False), np.int64)


def _texts(column: pa.DictionaryArray, strings: Strings) -> Codes:
    """Return the codes of a dictionary column, one for each row."""
    used, inverse = np.unique(_indices(column), return_inverse=True)
    texts = column.dictionary.take(pa.array(used)).to_pylist()
    return strings.codes(texts)[inverse.reshape(-1)] if texts else np.zeros(0, np.int32)


def _label_columns(rows: pa.RecordBatch, strings: Strings) -> dict[str, Codes]:
    columns = {NAME: _texts(rows.column("metric"), strings)}
    for label in CORE_LABELS:
        codes = _texts(rows.column(label), strings)
        if codes.any():
            columns[label] = codes
    other = rows.column("labels")
    used, inverse = np.unique(_indices(other), return_inverse=True)
    parsed = [parse_labels(text) for text in other.dictionary.take(pa.array(used)).to_pylist()]
    for label in sorted({name for labels in parsed for name in labels}):
        codes = strings.codes(labels.get(label, "") for labels in parsed)
        columns[label] = codes[inverse.reshape(-1)]
    return columns


def _renamed_since(version: str) -> Mapping[str, str]:
    """Return the families that a server of `version` still has under an old name or label."""
    server = release(version)
    return {
        rename.family: rename.new_family
        for rename in RENAMES
        if server is not None and server < rename.since
    }


def _translate(
    columns: dict[str, Codes],
    keys: list[int],
    old: Mapping[str, str],
    version: str,
    strings: Strings,
) -> None:
    """Give the rows of `old` families their current names, labels and ids, in place."""
    codes = [strings.code(family) for family in old]
    rows = np.flatnonzero(np.isin(columns[NAME], codes)) if codes else np.zeros(0, np.int64)
    for i in rows.tolist():
        texts = {name: strings.text(int(column[i])) for name, column in columns.items()}
        family = texts.pop(NAME)
        metric, labels = current_series(family, texts, version)
        keys[i] = series_id(metric, labels)
        for name in {*columns, *labels}:
            text = metric if name == NAME else labels.get(name, "")
            columns.setdefault(name, np.zeros(len(keys), np.int32))[i] = strings.code(text)


def _sound(rows: pa.RecordBatch) -> Mask:
    """Return which rows have as many buckets as their bounds ask for; only histograms need any."""
    bounds = rows.column("bounds")
    wanted = [text.count(",") + 2 if text else 1 for text in bounds.dictionary.to_pylist()]
    buckets = rows.column("buckets").value_lengths().to_numpy(zero_copy_only=False)
    kinds = rows.column("kind")
    scalar = np.array([kind != Kind.HISTOGRAM for kind in kinds.dictionary.to_pylist()], np.bool_)
    missing = np.isnan(buckets.astype(np.float64)) & scalar[_indices(kinds)]
    return np.asarray(missing | (buckets == np.array(wanted, np.int64)[_indices(bounds)]), np.bool_)


def _shapes(rows: pa.RecordBatch, strings: Strings) -> tuple[Index, Index]:
    kinds = _texts(rows.column("kind"), strings)
    histogram, summary = (kinds == strings.code(kind.value) for kind in _FOLDED)
    shapes = np.where(histogram, _texts(rows.column("bounds"), strings), SCALAR).astype(np.int64)
    shapes[summary] = SUMMARY
    buckets = rows.column("buckets").value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    widths = np.where(histogram, 2 + buckets, np.where(summary, 2, 1)).astype(np.int64)
    return shapes, widths
