"""All addresses of a name together get no more time than one request has."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest

from producers.dialing import Address, Watchdog, connect

LIMIT_S = 0.6
OVER_S = LIMIT_S * 1.6  # less than two addresses that have the whole time each
SILENT = 3


def address_of(listener: socket.socket) -> Address:
    return socket.AF_INET, socket.SOCK_STREAM, 0, "", listener.getsockname()


@pytest.fixture
def swallowing() -> Iterator[list[Address]]:
    """Addresses that never answer: their listeners are full, and nobody accepts."""
    with ExitStack() as opened:
        addresses = []
        for _ in range(SILENT):
            listener = opened.enter_context(closing(socket.socket()))
            listener.bind(("127.0.0.1", 0))
            listener.listen(0)
            for _ in range(3):
                waiting = opened.enter_context(closing(socket.socket()))
                waiting.setblocking(False)
                waiting.connect_ex(listener.getsockname())
            addresses.append(address_of(listener))
        yield addresses


def test_addresses_that_swallow_packets_share_the_time(swallowing: list[Address]) -> None:
    began_s = time.monotonic()

    with Watchdog(LIMIT_S) as watchdog, pytest.raises(OSError):
        connect(swallowing, watchdog, ())

    assert LIMIT_S * 0.6 <= time.monotonic() - began_s < OVER_S


def test_one_that_swallows_packets_leaves_time_for_the_next(swallowing: list[Address]) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        addresses = [swallowing[0], address_of(listener)]
        with Watchdog(LIMIT_S) as watchdog, connect(addresses, watchdog, ()) as connected:
            assert listener.getsockname() == connected.getpeername()


@pytest.mark.parametrize("after_s", [0.0, 0.2], ids=["before", "meanwhile"])
def test_a_watchdog_that_bites_ends_all_attempts_to_connect(
    swallowing: list[Address], after_s: float
) -> None:
    began_s = time.monotonic()

    with Watchdog(60.0) as watchdog:
        threading.Timer(after_s, watchdog.bite).start()
        with pytest.raises(TimeoutError):
            connect(swallowing, watchdog, ())

    assert time.monotonic() - began_s < OVER_S
