"""Fetch programs and sources from Debian's unstable suite without installing them.

In: the name of a package whose programs need nothing but the C library (those written in Go), or
of one whose sources ship what tests read. Out: the folder it was unpacked into. Rule: the machine's
own package lists and sources stay untouched: apt works with a private source, private lists and a
private cache, and asks the mirror that this machine is already configured for.
"""

import shutil
import subprocess
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from tests.services.cache import built
from tests.services.needs import need, skip_without

SUITE = "sid"
FETCH_TIMEOUT_S = 300

# Sandbox::User: the fetching user of apt cannot read a folder below root's home. The hook and the
# desktop metadata would cost more than the download. Check-Valid-Until: a mirror that is a snapshot
# serves a signed list whose validity has run out; it is for test tools only.
APT_CONF = """\
Dir::Etc::sourcelist "{folder}/private.sources";
Dir::Etc::sourceparts "/dev/null";
Dir::State::lists "{folder}/lists";
Dir::Cache "{folder}/cache";
APT::Sandbox::User "root";
Acquire::Check-Valid-Until "false";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
"""
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


def program(package: str, path: str, *, why: str) -> Path:
    """Return a program of a package, for example `program("promtool", "usr/bin/promtool")`."""
    for command in ("apt-get", "dpkg"):
        need(command, why)
    return built(f"debian-{SUITE}-{package}", partial(_unpack, package, why)) / path


def source(package: str, *, why: str) -> Path:
    """Return the folder of the upstream sources of a package; `version` in it names them."""
    for command in ("apt-get", "tar"):
        need(command, why)
    return built(f"debian-{SUITE}-{package}-source", partial(_unpack_source, package, why))


def _unpack(package: str, why: str, folder: Path) -> None:
    conf = _configured(folder / "apt", "deb", why)
    apt = conf.parent  # gone at the end
    _run("apt-get", "-q", "-c", str(conf), "download", package, cwd=apt)
    (archive,) = apt.glob("*.deb")
    _run("dpkg", "-x", str(archive), str(folder), cwd=apt)
    shutil.rmtree(apt)


def _unpack_source(package: str, why: str, folder: Path) -> None:
    conf = _configured(folder / "apt", "deb-src", why)
    apt = conf.parent
    wanted = ("source", "--download-only", "--tar-only", package)
    _run("apt-get", "-q", "-c", str(conf), *wanted, cwd=apt)
    (archive,) = apt.glob("*.orig.tar.*")
    _run("tar", "-xf", str(archive), "-C", str(folder), "--strip-components=1", cwd=apt)
    name, _, version = archive.name.partition(".orig.tar")[0].rpartition("_")
    (folder / "version").write_text(f"{name} {version}")
    shutil.rmtree(apt)


def _configured(apt: Path, kind: str, why: str) -> Path:
    """Return the configuration of an apt of its own, which knows today's packages."""
    for name in ("lists/partial", "cache/archives/partial"):
        (apt / name).mkdir(parents=True)
    (apt / "private.sources").write_text(_source(kind, _mirror(why)))
    conf = apt / "apt.conf"
    conf.write_text(APT_CONF.format(folder=apt))
    _run("apt-get", "-q", "-c", str(conf), "update", cwd=apt)
    return conf


def _source(kind: str, mirror: str) -> str:
    lines = [f"Types: {kind}", f"URIs: {mirror}", f"Suites: {SUITE}", "Components: main"]
    if KEYRING.exists():
        lines.append(f"Signed-By: {KEYRING}")
    return "\n".join(lines) + "\n"


def _mirror(why: str) -> str:
    """Return the address of the Debian archive among the machine's own package sources."""
    fields = "$(REPO_URI) $(RELEASE) $(ORIGIN)"
    known = _run("apt-get", "indextargets", "--format", fields, "Created-By: Packages")
    for line in known.splitlines():
        uri, release, *origin = line.split(maxsplit=2)
        is_archive = origin == ["Debian"] or urlsplit(uri).path.rstrip("/").endswith("/debian")
        if is_archive and not release.endswith("-security"):
            return uri
    return skip_without("a Debian archive among apt's sources (after `apt-get update`)", why)


def _run(*command: str, cwd: Path | None = None) -> str:
    done = subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, timeout=FETCH_TIMEOUT_S, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed ({done.returncode}): {done.stderr[-2000:]}")
    return done.stdout
