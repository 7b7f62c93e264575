"""Put the rows of a scrape under current names. In: rows as an older server exposed them, its
version. Out: rows under the names of schemas/eras.py.

The rule this file owns: a table has one name for one series, whatever release a cluster runs; the
id of a renamed series is that of its new name, so that it goes on through an upgrade.
"""

from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.arrow import CODES
from schemas.eras import RENAMES, current_series, release
from schemas.series import CORE_LABELS, other_labels, parse_labels, series_id

_CHANGED: Final = ("metric", *CORE_LABELS, "labels", "series")


def current_rows(rows: pa.RecordBatch, version: str) -> pa.RecordBatch:
    """Return `rows` (SCRAPE_SCHEMA) of a server of `version` under current names.

    Most batches have nothing to rename and are returned as they are.
    """
    server = release(version)
    old = [one.family for one in RENAMES if server is not None and server < one.since]
    if not old:
        return rows
    renamed = pc.is_in(pc.cast(rows["metric"], pa.utf8()), pa.array(old))
    where = np.flatnonzero(renamed.to_numpy(zero_copy_only=False))
    return _renamed(rows, where, version) if len(where) else rows


def _renamed(rows: pa.RecordBatch, where: np.ndarray, version: str) -> pa.RecordBatch:
    columns = {name: rows[name].to_pylist() for name in _CHANGED}
    for i in map(int, where):
        labels = {label: columns[label][i] for label in CORE_LABELS if columns[label][i]}
        labels |= parse_labels(columns["labels"][i])
        metric, current = current_series(columns["metric"][i], labels, version)
        columns["metric"][i] = metric
        columns["labels"][i] = other_labels(current)
        columns["series"][i] = series_id(metric, current)
        for label in CORE_LABELS:
            columns[label][i] = current.get(label, "")
    changed = {
        name: pa.array(values, pa.uint64())
        if name == "series"
        else pa.array(values).dictionary_encode().cast(CODES)
        for name, values in columns.items()
    }
    return pa.RecordBatch.from_arrays(
        [changed.get(name, rows[name]) for name in rows.schema.names], schema=rows.schema
    )
