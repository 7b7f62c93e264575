"""Parse the /metrics bodies of a simulated API server, beside prometheus_client's parser.

In: bodies of 23 k and of 100 k samples, advanced by 15 s each. Out: CPU ns a sample to parse, and
to parse and encode as records, as medians of interleaved rounds: the first body of a target, one
that is busy, and an idle one. Rule: all start from the same bytes; the peer stops at its samples.
"""

import statistics
import time
from collections import deque
from collections.abc import Callable
from functools import partial

from prometheus_client.parser import text_string_to_metric_families

from producers.core.attempts import Attempt, Ending, envelope
from producers.core.chunks import Chunk, encode_chunks
from producers.core.exposition import Exposition
from producers.core.keys import Keys
from producers.core.outcomes import Verdict
from producers.core.text import TextReader
from schemas.identity import Target
from schemas.records import Outcome
from tests.bench import _report
from tests.bench._servers import API_SERVER, KEYS_MAX, Process, exposition, shape

NAME = "parse"
ROUNDS = 7
SIZES = (23_000, 100_000)
GOAL = 150.0
ENVELOPE = envelope(
    Attempt(Target("bench", "apiserver", "10.0.0.1:443"), {}, 1, 15_000, 1, "bench"),
    Ending(Verdict(Outcome.OK), 1, 2),
)


def main() -> None:
    """Print the medians, and the ratio of the peer's time to ours on busy bodies of 23 k."""
    _report.head(NAME, "prometheus_client")
    ratios = [_measured(size) for size in SIZES]
    _report.result(NAME, ratios[0], GOAL, "higher")


def _measured(size: int) -> float:
    process = Process(shape(API_SERVER, size), 7)
    bodies = [_advanced(process) for _ in range(ROUNDS + 1)]
    keys, reader = Keys(KEYS_MAX), TextReader()
    samples = _read(reader, bodies[0], keys).samples
    seconds: dict[str, list[float]] = {}
    for body in bodies[1:]:
        text = body.decode()
        runs: dict[str, Callable[[], object]] = {
            "prometheus_client": partial(deque, text_string_to_metric_families(text), 0),
            "first body": partial(_read, TextReader(), body, Keys(KEYS_MAX)),
            "busy": partial(_read, reader, body, keys),
            "idle": partial(_read, reader, body, keys),
            "idle, encoded": partial(_encoded, reader, body, keys),
        }
        for name, run in runs.items():
            began_s = time.process_time()
            run()
            seconds.setdefault(name, []).append(time.process_time() - began_s)
    print(f"{samples} samples, {len(bodies[0])} bytes, {ROUNDS} rounds")
    medians = {name: statistics.median(taken) for name, taken in seconds.items()}
    for name, median in medians.items():
        print(f"{name:18} {median / samples * 1e9:8.0f} ns a sample")
    return medians["prometheus_client"] / medians["busy"]


def _advanced(process: Process) -> bytes:
    process.advance(15.0)
    return exposition(process)


def _encoded(reader: TextReader, body: bytes, keys: Keys) -> list[Chunk]:
    return encode_chunks(ENVELOPE, _read(reader, body, keys).columns)


def _read(reader: TextReader, body: bytes, keys: Keys) -> Exposition:
    return reader.read(body, keys, samples_max=KEYS_MAX)


if __name__ == "__main__":
    main()
