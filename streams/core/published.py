"""Give the results of rules the form of indicators. In: vectors. Out: rows, in one order.

The rule this file owns: rows are sorted by their texts, so they do not depend on who was scraped
first; a result that is no number is not published. Texts are made once for each label table.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from schemas.arrow import INDICATOR_SCHEMA
from schemas.series import CORE_LABELS, other_labels
from streams.core.promql.labels import NAME, Index, Labels, Mask, Strings
from streams.core.promql.vector import Vector, union

Texts = tuple[str, ...]


def published(results: Sequence[Vector], strings: Strings) -> pa.RecordBatch:
    """Return the results that are numbers, as rows of INDICATOR_SCHEMA."""
    found = union(results)
    labels = found.labels
    texts, order = labels.once("texts", lambda: _sorted(labels, strings))
    shown = (found.present & ~np.isnan(found.values))[order]
    columns = labels.once(("columns", shown.tobytes()), lambda: _columns(texts, shown))
    rows = order[shown]
    values = pa.array(found.values[rows], pa.float64())
    coverage = pa.array(found.coverage[rows].astype(np.float32), pa.float32())
    return pa.RecordBatch.from_arrays([*columns, values, coverage], schema=INDICATOR_SCHEMA)


def _sorted(labels: Labels, strings: Strings) -> tuple[list[Texts], Index]:
    """Return the texts of all rows in order, and which row each was."""
    rows = sorted((_texts(labels, i, strings), i) for i in range(labels.n))
    return [texts for texts, _ in rows], np.array([i for _, i in rows], np.int64)


def _columns(texts: Sequence[Texts], shown: Mask) -> list[pa.Array]:
    rows = [texts[i] for i in np.flatnonzero(shown).tolist()]
    return [
        pa.array([row[column] for row in rows], pa.utf8()).dictionary_encode()
        for column in range(len(CORE_LABELS) + 2)
    ]


def _texts(labels: Labels, i: int, strings: Strings) -> Texts:
    """Return the text columns of an indicator; the cluster is in the envelope."""
    row = labels.row(i, strings)
    row.pop("cluster", None)
    return (row.pop(NAME), *(row.get(name, "") for name in CORE_LABELS), other_labels(row))
