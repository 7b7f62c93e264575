"""Give the results of rules the form of indicators. In: vectors. Out: rows, in one order.

The rule this file owns: results come rule by rule, those of a rule sorted by their texts, so they
do not depend on who was scraped first; what is no number is not published. Texts are made once for
each label table.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from schemas.arrow import INDICATOR_SCHEMA
from schemas.series import CORE_LABELS, other_labels
from streams.core.promql.labels import EMPTY, NAME, Index, Labels, Strings
from streams.core.promql.vector import Vector

Texts = tuple[str, ...]


def published(results: Sequence[Vector], strings: Strings) -> pa.RecordBatch:
    """Return the results that are numbers, as rows of INDICATOR_SCHEMA."""
    filled = [one for one in results if one.labels.n]
    rows = [_shown(one, strings) for one in filled]
    tables = [one.labels for one in filled]
    key = tuple(zip(tables, (one.tobytes() for one in rows), strict=True))
    first = tables[0] if tables else EMPTY
    columns = first.latest("columns", key, lambda: _columns(tables, rows, strings))
    picked = list(zip(filled, rows, strict=True))
    values = np.concatenate([np.zeros(0), *(one.values[at] for one, at in picked)])
    coverage = np.concatenate([np.zeros(0), *(one.coverage[at] for one, at in picked)])
    numbers = [pa.array(values), pa.array(coverage.astype(np.float32))]
    return pa.RecordBatch.from_arrays([*columns, *numbers], schema=INDICATOR_SCHEMA)


def _shown(result: Vector, strings: Strings) -> Index:
    """Return the rows that are numbers, in the order of their texts."""
    order = _sorted(result.labels, strings)[1]
    return order[(result.present & ~np.isnan(result.values))[order]]


def _sorted(labels: Labels, strings: Strings) -> tuple[list[Texts], Index]:
    """Return the texts of all rows, and the rows in their order."""

    def made() -> tuple[list[Texts], Index]:
        texts = [_texts(labels, i, strings) for i in range(labels.n)]
        return texts, np.array(sorted(range(labels.n), key=texts.__getitem__), np.int64)

    return labels.once("texts", made)


def _columns(tables: Sequence[Labels], rows: Sequence[Index], strings: Strings) -> list[pa.Array]:
    """Return the text columns of all rows."""
    texts: list[Texts] = []
    for labels, at in zip(tables, rows, strict=True):
        own = _sorted(labels, strings)[0]
        texts += [own[i] for i in at.tolist()]
    return [
        pa.array([row[column] for row in texts], pa.utf8()).dictionary_encode()
        for column in range(len(CORE_LABELS) + 2)
    ]


def _texts(labels: Labels, i: int, strings: Strings) -> Texts:
    """Return the text columns of an indicator; the cluster is in the envelope."""
    row = labels.row(i, strings)
    row.pop("cluster", None)
    return (row.pop(NAME), *(row.get(name, "") for name in CORE_LABELS), other_labels(row))
