"""Names of the ledger's actors: one ledger for each store, one meter for each node and ledger."""

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # a meter needs the names and not what a store is made of, and stays small
    from collapse_ray.artifact.store import Store

NAMESPACE = "collapse-ray"
VERSION = 1
"""Of what actors say to each other, and part of their names: another version's actors are never talked to."""


def ledger_key(store: "Store") -> str:
    """Tells the ledger of one store from others on a cluster."""
    return f"v{VERSION}-{hashlib.sha256(store.uri.encode()).hexdigest()[:10]}"


def ledger_name(key: str) -> str:
    """Of the ledger actor."""
    return f"collapse-ledger-{key}"


def short_id(node_id: str) -> str:
    """Of a Ray node: the end of what the ledger calls it."""
    return node_id[:8]


def meter_name(key: str, node_id: str) -> str:
    """Of the meter actor of a Ray node."""
    return f"collapse-meter-{key}-{node_id}"
