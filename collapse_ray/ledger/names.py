"""Names of the ledger's actors: one ledger for each store, one meter for each node and ledger."""


def ledger_name(key: str) -> str:
    """Of the ledger actor."""
    return f"collapse-ledger-{key}"


def short_id(node_id: str) -> str:
    """Of a Ray node: the end of what the ledger calls it."""
    return node_id[:8]


def meter_name(key: str, node_id: str) -> str:
    """Of the meter actor of a Ray node."""
    return f"collapse-meter-{key}-{node_id}"
