"""Print answers. In: batches of rows, a format, a file or the terminal. Out: a table, CSV, JSON,
Parquet or Arrow.

The rule this file owns: an answer passes in batches, whatever its size; only the table, which must
know its widths, holds rows, and then says how many it did not show. A file is there whole or not
at all. Nothing binary goes to a terminal.
"""

import csv
import io
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Final, Literal

import click
import pyarrow as pa
import pyarrow.parquet as pq
from rich import box
from rich.console import Console
from rich.table import Table as Grid

from schemas.errors import SinkRefused
from sinks.core.cells import in_json, in_table, in_text

TABLE_ROWS_MAX: Final = 10_000
WIDTH_MAX: Final = 10_000
BINARY: Final = frozenset({"parquet", "arrow"})

Write = Callable[[pa.RecordBatchReader, IO[bytes]], None]


@contextmanager
def opened(output: Path | None, form: str) -> Iterator[IO[bytes]]:
    """Yield where to write: standard output, or a file that gets its name when it is whole.

    Raises:
        click.UsageError: a terminal would get bytes. SinkRefused: the file cannot be written.
    """
    if output is None:
        if form in BINARY and sys.stdout.isatty():
            raise click.UsageError(
                f"{form} is not for a terminal: give --output FILE, or pipe it to a program"
            )
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    draft = output.with_name(f".{output.name}.{os.getpid()}.part")
    try:
        with draft.open("wb") as file:
            yield file
        draft.replace(output)
    except OSError as error:
        raise SinkRefused(f"cannot write {output}: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)


def write_table(reader: pa.RecordBatchReader, out: IO[bytes]) -> None:
    """Write columns: folded to the width of a terminal, as wide as they are elsewhere."""
    text = io.TextIOWrapper(out, encoding="utf-8", write_through=True)
    console = Console(file=text, markup=False, highlight=False)
    terminal = console.is_terminal
    grid = Grid(box=box.SIMPLE_HEAD if terminal else None, show_edge=False, pad_edge=False)
    for field in reader.schema:
        number = pa.types.is_integer(field.type) or pa.types.is_floating(field.type)
        justify: Literal["left", "right"] = "right" if number else "left"
        grid.add_column(field.name, justify=justify, no_wrap=number, overflow="fold", min_width=6)
    for row in _rows(reader):
        if grid.row_count == TABLE_ROWS_MAX:
            click.echo(f"only {TABLE_ROWS_MAX} rows are shown; --format csv has all", err=True)
            break
        grid.add_row(*(in_table(value) for value in row))
    if not terminal:
        console.width = WIDTH_MAX
    console.print(grid)
    text.detach()  # or closing it would close what it writes to


def write_csv(reader: pa.RecordBatchReader, out: IO[bytes]) -> None:
    """Write RFC 4180 in UTF-8, with a line of names."""
    text = io.TextIOWrapper(out, encoding="utf-8", newline="")
    lines = csv.writer(text)
    lines.writerow(reader.schema.names)
    lines.writerows([in_text(value) for value in row] for row in _rows(reader))
    text.detach()


def write_json(reader: pa.RecordBatchReader, out: IO[bytes]) -> None:
    """Write an array of objects, one a line."""
    before, names = "[\n", reader.schema.names
    for row in _rows(reader):
        line = dict(zip(names, map(in_json, row), strict=True))
        out.write((before + json.dumps(line, ensure_ascii=False, allow_nan=False)).encode())
        before = ",\n"
    out.write(b"[]\n" if before == "[\n" else b"\n]\n")


def write_parquet(reader: pa.RecordBatchReader, out: IO[bytes]) -> None:
    """Write a Parquet file."""
    with pq.ParquetWriter(out, reader.schema, compression="zstd") as file:
        for batch in reader:
            file.write_batch(_valid(batch))


def write_arrow(reader: pa.RecordBatchReader, out: IO[bytes]) -> None:
    """Write an Arrow IPC stream."""
    with pa.ipc.new_stream(out, reader.schema) as stream:
        for batch in reader:
            stream.write_batch(_valid(batch))


WRITERS: Final[Mapping[str, Write]] = {
    "table": write_table,
    "csv": write_csv,
    "json": write_json,
    "parquet": write_parquet,
    "arrow": write_arrow,
}


def _rows(reader: pa.RecordBatchReader) -> Iterator[list[Any]]:
    for batch in reader:
        columns = [_values(column) for column in batch.columns]
        yield from ([column[i] for column in columns] for i in range(batch.num_rows))


def _values(column: pa.Array) -> list[Any]:
    if pa.types.is_string(column.type):
        column = column.cast(pa.binary())  # ClickHouse's String may be no text
        return [None if value is None else _text(value) for value in column.to_pylist()]
    values: list[Any] = column.to_pylist(maps_as_pydicts="lossy")
    return values


def _text(value: bytes) -> str:
    return value.decode("utf-8", "backslashreplace")


def _valid(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Refuse what other readers would stumble over."""
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        try:
            column.validate(full=True)
        except pa.ArrowInvalid as error:
            raise SinkRefused(
                f"{name} holds bytes that are no text, as Parquet and Arrow want it: select "
                f"hex({name}) or toValidUTF8({name})"
            ) from error
    return batch
