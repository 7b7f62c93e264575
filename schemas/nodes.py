"""What all settings are made of. In: values of the configuration. Out: checked and frozen ones.

The rule this file owns: unknown keys are refused; a relative path is relative to the configuration
file; the certificates of a client are told in one way, whoever it speaks to.
"""

from pathlib import Path
from typing import Annotated, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    model_validator,
)


def _beside_the_file(path: Path, info: ValidationInfo) -> Path:
    """A relative path is relative to the configuration file; `~` is the home directory."""
    base = (info.context or {}).get("base")
    path = path.expanduser()
    return base / path if base is not None and not path.is_absolute() else path


FilePath = Annotated[Path, AfterValidator(_beside_the_file)]
Seconds = Annotated[float, Field(gt=0, le=86_400)]
Port = Annotated[int, Field(ge=0, le=65_535)]  # 0: any free one


LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class Node(BaseModel):
    """Base of all settings: frozen, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Tls(Node):
    """TLS of a client; without files the system's authorities are trusted."""

    ca_file: FilePath | None = None
    cert_file: FilePath | None = None
    key_file: FilePath | None = None
    server_name: str | None = None
    insecure_skip_verify: bool = False

    @model_validator(mode="after")
    def _pair(self) -> Self:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file go together")
        return self
