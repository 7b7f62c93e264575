"""Parse the /metrics body of a real API server, beside prometheus_client's parser.

In: the Kubernetes 1.35 capture of ../shared/fixtures. Out: CPU ns a sample of both, cold and warm,
as medians of interleaved rounds. Rule: both start from the same bytes; ours goes on to the rows of
a record, the peer stops at its samples. The incremental parsers of a later issue have goals of
their own; this one says where we start.
"""

import statistics
import time
from collections.abc import Callable

from prometheus_client.parser import text_string_to_metric_families

from producers.core.exposition import parse
from producers.core.keys import Keys
from producers.core.rows import to_batch
from tests import fixtures

NAME = "parse"
CAPTURE = "1_35-api-server"
ROUNDS = 7
KEYS_MAX = 1_000_000
GOAL = 5.0


def main() -> None:
    """Print the medians, and the ratio of the peer's time to our warm one."""
    body = fixtures.metrics(CAPTURE)
    text = body.decode()
    keys = Keys(KEYS_MAX)
    samples = parse(body, keys, samples_max=KEYS_MAX).samples

    def ours(known: Keys) -> None:
        to_batch(parse(body, known, samples_max=KEYS_MAX).rows)

    def peer() -> None:
        for _ in text_string_to_metric_families(text):
            pass

    runs: dict[str, Callable[[], None]] = {
        "prometheus_client": peer,
        "planewatch cold": lambda: ours(Keys(KEYS_MAX)),
        "planewatch warm": lambda: ours(keys),
    }
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(ROUNDS):
        for name, run in runs.items():
            began = time.process_time()
            run()
            seconds[name].append(time.process_time() - began)
    medians = {name: statistics.median(taken) for name, taken in seconds.items()}
    print(f"{CAPTURE}: {samples} samples, {len(body)} bytes, {ROUNDS} rounds")
    for name, median in medians.items():
        print(f"{name:18} {median / samples * 1e9:8.0f} ns a sample")
    ratio = medians["prometheus_client"] / medians["planewatch warm"]
    print(f"{NAME} value={ratio:.1f} goal={GOAL} better=higher")


if __name__ == "__main__":
    main()
