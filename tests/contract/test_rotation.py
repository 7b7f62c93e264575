"""Token files, CAs and client certificates are renewed under running producers: scraping goes on.

Each server accepts what is valid now and nothing else. A target beside it, whose files nobody
renews, shows that the old ones are really worth nothing any more.
"""

import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from schemas.records import Outcome
from tests.services.rotating import Accepts, Guarded, producing, target

CLIENT_S = 4  # that the first client certificate is good


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def guarded(stack: ExitStack, ca: trustme.CA, *, clients: trustme.CA | None = None) -> Guarded:
    server = Guarded(ca, clients=clients)
    stack.callback(server.close)
    return server


def has_token(token: str) -> Accepts:
    header = f"Authorization: Bearer {token}\r\n".encode()
    return lambda _, request: header in request


def has_certificate(name: str) -> Accepts:
    def accepts(connection: ssl.SSLSocket, _: bytes) -> bool:
        told = connection.getpeercert()
        return told is not None and name in str(told["subjectAltName"])

    return accepts


class Volume:
    """A folder whose files change all at once, as kubelet mounts a Secret or a projected token."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._version = folder, 0
        folder.mkdir()

    def write(self, **files: bytes) -> None:
        self._version += 1
        version = self.folder / f"..{self._version}"
        version.mkdir()
        for name, content in files.items():
            (version / name).write_bytes(content)
            if not (self.folder / name).is_symlink():
                (self.folder / name).symlink_to(Path("..data") / name)
        beside = self.folder / "..data_tmp"
        beside.symlink_to(version.name)
        beside.replace(self.folder / "..data")

    def __getitem__(self, name: str) -> str:
        return str(self.folder / name)


def pem(*cas: trustme.CA) -> bytes:
    return b"".join(ca.cert_pem.bytes() for ca in cas)


def test_a_token_file_is_rotated(stack: ExitStack, tmp_path: Path) -> None:
    ca, volume = trustme.CA(), Volume(tmp_path / "volume")
    server = guarded(stack, ca)
    server.accepts = has_token("0")
    volume.write(token=b"0\n", ca=pem(ca))
    ours = target("cp-1", server, tls={"ca_file": volume["ca"]}, bearer_token_file=volume["token"])
    with producing(tmp_path / "data", {"targets": [ours]}) as scraped:
        assert [] == scraped.failed("cp-1", 0)
        for number in range(1, 4):
            at_ms = scraped.now_ms()
            volume.write(token=b"%d\n" % number, ca=pem(ca))
            server.accepts = has_token(str(number))
            assert scraped.failed("cp-1", at_ms) in ([], [Outcome.UNAUTHORIZED]), number


@pytest.mark.parametrize("first", ["server", "file"])
def test_a_token_that_a_server_does_not_know_yet_or_any_more_is_refused_until_both_agree(
    stack: ExitStack, tmp_path: Path, first: str
) -> None:
    ca, volume = trustme.CA(), Volume(tmp_path / "volume")
    server = guarded(stack, ca)
    server.accepts = has_token("old")
    volume.write(token=b"old", ca=pem(ca))
    ours = target("cp-1", server, tls={"ca_file": volume["ca"]}, bearer_token_file=volume["token"])
    with producing(tmp_path / "data", {"targets": [ours]}) as scraped:
        assert [] == scraped.failed("cp-1", 0)
        at_ms = scraped.now_ms()
        if first == "server":
            server.accepts = has_token("new")
        else:
            volume.write(token=b"new", ca=pem(ca))
        scraped.wait("cp-1", at_ms, Outcome.UNAUTHORIZED)

        volume.write(token=b"new", ca=pem(ca))
        server.accepts = has_token("new")
        assert [] == scraped.failed("cp-1", scraped.now_ms())


def test_a_ca_is_renewed(stack: ExitStack, tmp_path: Path) -> None:
    old, new = trustme.CA(), trustme.CA()
    server = guarded(stack, old)
    volume, left = Volume(tmp_path / "volume"), Volume(tmp_path / "left")
    volume.write(ca=pem(old))
    left.write(ca=pem(old))
    targets = [
        target("renewed", server, tls={"ca_file": volume["ca"]}),
        target("left", server, tls={"ca_file": left["ca"]}),
    ]
    with producing(tmp_path / "data", {"targets": targets}) as scraped:
        assert [] == scraped.failed("renewed", 0)
        at_ms = scraped.now_ms()
        volume.write(ca=pem(old, new))
        server.show(new)
        server.hang_up()
        assert scraped.failed("renewed", at_ms) in ([], [Outcome.TRUNCATED])
        scraped.wait("left", at_ms, Outcome.TLS)

        at_ms = scraped.now_ms()
        volume.write(ca=pem(new))
        server.hang_up()
        assert scraped.failed("renewed", at_ms) in ([], [Outcome.TRUNCATED])

        server.show(old)  # whom nobody trusts any more
        server.hang_up()
        scraped.wait("renewed", scraped.now_ms(), Outcome.TLS)


def test_a_connection_that_lives_is_not_given_up_for_a_new_ca(
    stack: ExitStack, tmp_path: Path
) -> None:
    old, new = trustme.CA(), trustme.CA()
    server, volume = guarded(stack, old), Volume(tmp_path / "volume")
    volume.write(ca=pem(old))
    ours = target("cp-1", server, tls={"ca_file": volume["ca"]})
    with producing(tmp_path / "data", {"targets": [ours]}) as scraped:
        assert [] == scraped.failed("cp-1", 0)
        volume.write(ca=pem(new))
        assert [] == scraped.failed("cp-1", scraped.now_ms())
        assert 1 == server.connections


def test_a_client_certificate_is_renewed_before_it_ends(stack: ExitStack, tmp_path: Path) -> None:
    ca, clients = trustme.CA(), trustme.CA()
    server = guarded(stack, ca, clients=clients)
    volume, left = Volume(tmp_path / "volume"), Volume(tmp_path / "left")
    ends = datetime.now(UTC) + timedelta(seconds=CLIENT_S)
    for one in (volume, left):
        one.write(ca=pem(ca), **pair(clients, "first.example", ends=ends))
    targets = [target("renewed", server, tls=tls(volume)), target("left", server, tls=tls(left))]
    with producing(tmp_path / "data", {"targets": targets}) as scraped:
        assert [] == scraped.failed("renewed", 0)
        assert [] == scraped.failed("left", 0)
        volume.write(ca=pem(ca), **pair(clients, "second.example"))
        time.sleep(max(0.0, ends.timestamp() + 1 - time.time()))
        at_ms = scraped.now_ms()
        server.hang_up()

        assert scraped.failed("renewed", at_ms) in ([], [Outcome.TRUNCATED])
        scraped.wait("left", at_ms, Outcome.TLS)


def test_a_client_certificate_that_is_refused_at_a_request_is_read_anew(
    stack: ExitStack, tmp_path: Path
) -> None:
    ca, clients = trustme.CA(), trustme.CA()
    server = guarded(stack, ca, clients=clients)
    server.accepts = has_certificate("first.example")
    volume = Volume(tmp_path / "volume")
    volume.write(ca=pem(ca), **pair(clients, "first.example"))
    ours = target("cp-1", server, tls=tls(volume))
    with producing(tmp_path / "data", {"targets": [ours]}) as scraped:
        assert [] == scraped.failed("cp-1", 0)
        at_ms = scraped.now_ms()
        volume.write(ca=pem(ca), **pair(clients, "second.example"))
        server.accepts = has_certificate("second.example")  # on the connections that live, too

        assert [Outcome.UNAUTHORIZED] == scraped.failed("cp-1", at_ms)
        assert 2 == server.connections


def test_a_certificate_whose_key_is_not_there_yet_is_tried_again(
    stack: ExitStack, tmp_path: Path
) -> None:
    ca, clients = trustme.CA(), trustme.CA()
    server, volume = guarded(stack, ca, clients=clients), Volume(tmp_path / "volume")
    first, second = pair(clients, "first.example"), pair(clients, "second.example")
    volume.write(ca=pem(ca), **first)
    ours = target("cp-1", server, tls=tls(volume))
    with producing(tmp_path / "data", {"targets": [ours]}) as scraped:
        assert [] == scraped.failed("cp-1", 0)
        volume.write(ca=pem(ca), certificate=second["certificate"], key=first["key"])
        server.hang_up()
        scraped.wait("cp-1", scraped.now_ms(), Outcome.TLS)

        volume.write(ca=pem(ca), **second)
        assert [] == scraped.failed("cp-1", scraped.now_ms())


def pair(ca: trustme.CA, name: str, *, ends: datetime | None = None) -> dict[str, bytes]:
    issued = ca.issue_cert(name, not_after=ends)
    return {
        "certificate": issued.cert_chain_pems[0].bytes(),
        "key": issued.private_key_pem.bytes(),
    }


def tls(volume: Volume) -> dict[str, str]:
    return {
        "ca_file": volume["ca"],
        "cert_file": volume["certificate"],
        "key_file": volume["key"],
    }
