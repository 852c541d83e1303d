"""Actors that all jobs of one store share on a cluster: what they are called, and where they sit."""

import hashlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # a meter needs the names and not what a store is made of, and stays small
    from collapse_ray.artifact.store import Store

NAMESPACE = "collapse-ray"
VERSION = 1
"""Of what actors say to each other, and part of their names: another version's actors are never talked to."""
ON_HEAD = {"node:__internal_head__": 0.001}
"""Any other node may be lost alone, and Ray takes half a minute to notice; only the head has this resource.

Not by `NodeAffinitySchedulingStrategy`: Ray 2.60 puts actors that need no resources anywhere where it is soft.
"""


def store_key(store: "Store") -> str:
    """Tells the actors of one store from those of others on a cluster."""
    return f"v{VERSION}-{hashlib.sha256(store.uri.encode()).hexdigest()[:10]}"


def shared_actor(actor: Any, name: str) -> Any:
    """The class of an actor with what makes one of it for all jobs: the one that runs, or a new one.

    It outlives the driver that starts it, which may be killed, and has to end itself.
    """
    return actor.options(
        name=name,
        namespace=NAMESPACE,
        get_if_exists=True,
        lifetime="detached",
        scheduling_strategy="DEFAULT",  # else it became part of the placement group of whoever starts it
        resources=ON_HEAD,
    )
