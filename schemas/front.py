"""The ClickHouse-compatible port. In: values of the configuration. Out: where analysts connect, who
they are, and how much they may ask for.

The rule this file owns: beyond loopback nobody listens without a password and TLS; each limit says
what an analyst is answered when it is hit.
"""

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from schemas.nodes import LOOPBACK, FilePath, Node, Port, Seconds


class FrontSettings(Node):
    """The read-only ClickHouse-compatible port in front of the embedded engine.

    Without `password_file` it listens on loopback for who can read its token in `<data>/run`; with
    one it is a port for analysts, beside that one. The limits hold for `planewatch query`, too.
    """

    host: str = "127.0.0.1"
    port: Port = 0
    username: str = Field("planewatch", min_length=1, max_length=100, pattern=r"^[^:\s]+$")
    password_file: FilePath | None = None
    cert_file: FilePath | None = None  # of the server: PEM, with what leads to its authority
    key_file: FilePath | None = None
    queries_max: int = Field(4, ge=1, le=64)  # at once; the next waits 10 s, then code 202
    query_s_max: Seconds = 20.0  # code 159
    query_memory_bytes_max: int = Field(1_000_000_000, ge=10_000_000)  # code 241
    rows_max: int = Field(1_000_000, ge=1)  # of an answer; code 396
    answer_bytes_max: int = Field(256_000_000, ge=1_000)  # uncompressed; code 396
    statement_bytes_max: int = Field(1_000_000, ge=1_000)  # code 62

    @model_validator(mode="after")
    def _guarded(self) -> Self:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file go together")
        if self.cert_file and self.password_file is None:
            raise ValueError("cert_file and key_file are for a port with a password_file")
        if self.host not in LOOPBACK and (self.password_file is None or self.cert_file is None):
            raise ValueError(
                "a front that listens beyond loopback needs password_file, cert_file and key_file"
            )
        if self.password_file and self.port == 0:
            raise ValueError("a front with a password_file needs a port that people can know")
        return self

    @property
    def tls(self) -> tuple[Path, Path] | None:
        """The files of the certificate and of its key."""
        return (self.cert_file, self.key_file) if self.cert_file and self.key_file else None
