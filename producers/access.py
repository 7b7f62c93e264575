"""Say how an API server is reached. In: a kubeconfig, or that we are a pod of the cluster. Out:
settings of the client, and who we are to that server.

The rule this file owns: the client package reads kubeconfigs and runs their plug-ins; added is what
it keeps to itself: until when credentials are good, and whether a program makes them. A token ends
where its line does.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml
from kubernetes.client import Configuration
from kubernetes.config import ConfigException, load_incluster_config
from kubernetes.config.kube_config import KubeConfigLoader, KubeConfigMerger

from producers.core.credentials import Identity, Reading
from schemas.errors import ConfigError, Problem
from schemas.nodes import Tls
from schemas.settings import ClusterSettings

BEARER: Final = "BearerToken"

UNUSABLE: Final = (
    ConfigException,
    OSError,
    ValueError,
    yaml.YAMLError,
    TypeError,  # this and what follows: YAML of another shape
    KeyError,
    AttributeError,
)
"""What the client package raises where a kubeconfig cannot be used."""


@dataclass(frozen=True, slots=True)
class Access:
    """Where to read how one API server is reached; without a kubeconfig, in the pod we are."""

    kubeconfig: Path | None
    context: str | None
    setting: str  # its path in the configuration, for messages

    def open(self) -> tuple[Configuration, Reading]:
        """Return settings of a client with the credentials of now; a plug-in may run.

        Raises:
            ConfigError: the operator must mend the kubeconfig, or where we run.
        """
        try:
            return self._open()
        except UNUSABLE as error:
            told = str(error) if isinstance(error, ConfigException | OSError) else repr(error)
            where = self.kubeconfig or "no service account of a pod"
            raise ConfigError([Problem(self.setting, f"{where}: {told}")]) from error

    def _open(self) -> tuple[Configuration, Reading]:
        settings = Configuration()
        if self.kubeconfig is None:
            load_incluster_config(settings)  # type: ignore[no-untyped-call]  # no types there
            return settings, Reading(_identity(settings))
        merged = KubeConfigMerger(str(self.kubeconfig)).config  # type: ignore[no-untyped-call]
        if merged is None:
            raise ConfigException("no such file")
        loader = _Loader(merged, self.context, config_base_path=None)  # type: ignore[no-untyped-call]
        loader.load_and_set(settings)  # type: ignore[no-untyped-call]
        if not loader.plugged:
            settings.refresh_api_key_hook = None  # it would set the token as it was read
        if token := settings.api_key.get(BEARER):
            settings.api_key[BEARER] = token.strip()
        return settings, Reading(_identity(settings), loader.plugged, loader.left_s)


def access(number: int, cluster: ClusterSettings) -> Access:
    """Return how the API server of a configured cluster is reached."""
    name = "in_cluster" if cluster.in_cluster else "kubeconfig"
    return Access(cluster.kubeconfig, cluster.context, f"clusters.{number}.{name}")


class _Loader(KubeConfigLoader):
    """Tells what the package knows of the credentials."""

    @property
    def plugged(self) -> bool:
        """Tell whether a program makes them, or somebody whom the package asks."""
        user = self._user or {}
        given = "token" in user or "tokenFile" in user
        return "auth-provider" in user or ("exec" in user and not given)

    @property
    def left_s(self) -> float | None:
        """How long they are good."""
        expiry = self.__dict__.get("expiry")
        return None if expiry is None else expiry.timestamp() - time.time()


def _identity(settings: Configuration) -> Identity:
    return Identity(
        Tls(
            ca_file=settings.ssl_ca_cert,
            cert_file=settings.cert_file,
            key_file=settings.key_file,
            server_name=settings.tls_server_name,
            insecure_skip_verify=not settings.verify_ssl,
        ),
        settings.api_key.get(BEARER, "").strip(),
    )
