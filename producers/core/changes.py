"""Turn objects of the API into changes. In: the object as it is, and as it was. Out: a Change.

The rule this file owns: an object is trimmed before anything else sees it: what servers keep for
themselves (managedFields) and what repeats the object (kubectl's last-applied annotation) goes;
versions of the object are no difference.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec

from schemas.records import Change, Difference, JsonObject, Op, Owner

DIFFERENCES_MAX: Final = 100  # of one change; the rest is in the object
_LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
_VERSION: Final = "metadata.resourceVersion"


def trimmed(given: JsonObject) -> JsonObject:
    """Return an object without what nobody reads."""
    metadata = dict(given.get("metadata") or {})
    metadata.pop("managedFields", None)
    annotations = {k: v for k, v in _map(metadata.get("annotations")) if k != _LAST_APPLIED}
    metadata.pop("annotations", None)
    if annotations:
        metadata["annotations"] = annotations
    return given | {"metadata": metadata}


def change(
    cluster: str, given: JsonObject, before: JsonObject | None, op: Op, received_ms: int
) -> Change:
    """Return the change that made `given` of `before`; both are trimmed.

    Where `before` is unknown there is no difference to tell.
    """
    metadata: JsonObject = given["metadata"]
    differences = () if before is None or op is Op.DELETED else diff(before, given)
    return Change(
        cluster=cluster,
        api_version=str(given.get("apiVersion", "")),
        kind=str(given.get("kind", "")),
        namespace=str(metadata.get("namespace", "")),
        name=str(metadata["name"]),
        uid=str(metadata["uid"]),
        resource_version=str(metadata["resourceVersion"]),
        op=op,
        received_ms=received_ms,
        owner=_owner(metadata),
        diff=[one for one, _ in zip(differences, range(DIFFERENCES_MAX), strict=False)],
        object=given,
    )


def snapshot(
    cluster: str, known: Mapping[str, JsonObject], items: Iterable[JsonObject], received_ms: int
) -> list[Change]:
    """Return what a snapshot says: all its objects again, and the deletion of those that are gone.

    `known`: the trimmed objects by uid as they were seen last. An object that appeared meanwhile is
    `added`, unless nothing was known at all: then nobody can say when it appeared.
    """
    there = {str(item["metadata"]["uid"]): trimmed(item) for item in items}
    changes = [
        change(
            cluster,
            item,
            known.get(uid),
            Op.RESYNC if uid in known or not known else Op.ADDED,
            received_ms,
        )
        for uid, item in there.items()
    ]
    gone = [item for uid, item in known.items() if uid not in there]
    return changes + [change(cluster, item, None, Op.DELETED, received_ms) for item in gone]


def bare(full: Change) -> Change:
    """Return a change that is too big for a record, with the identity of its object only."""
    names = ("name", "namespace", "uid", "resourceVersion")
    metadata = {k: v for k, v in full.object["metadata"].items() if k in names}
    kept = {"apiVersion": full.api_version, "kind": full.kind, "metadata": metadata}
    return msgspec.structs.replace(full, diff=[], object=kept)


def diff(before: JsonObject, after: JsonObject) -> Iterator[Difference]:
    """Yield the leaves that differ, in the order of their paths; lists are compared whole."""
    for path, old, new in _leaves("", before, after):
        if path != _VERSION:
            yield Difference(path=path, old=old, new=new)


def _leaves(path: str, before: Any, after: Any) -> Iterator[tuple[str, Any, Any]]:
    if before == after:
        return
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in sorted(before.keys() | after.keys()):
            yield from _leaves(_join(path, str(key)), before.get(key), after.get(key))
    else:
        yield path, before, after


def _join(path: str, key: str) -> str:
    """spec.replicas, but metadata.labels["app.kubernetes.io/name"]."""
    if "." in key or "[" in key:
        return f'{path}["{key}"]'
    return f"{path}.{key}" if path else key


def _map(value: object) -> Iterator[tuple[str, Any]]:
    yield from value.items() if isinstance(value, Mapping) else ()


def _owner(metadata: Mapping[str, Any]) -> Owner | None:
    """Return the controller; what its reference does not say is empty."""
    references = metadata.get("ownerReferences")
    for one in references if isinstance(references, list) else ():
        if isinstance(one, Mapping) and one.get("controller"):
            kind, name, uid = (str(one.get(part) or "") for part in ("kind", "name", "uid"))
            return Owner(kind=kind, name=name, uid=uid)
    return None
