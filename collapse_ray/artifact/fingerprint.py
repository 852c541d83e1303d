"""Content address of an identity."""

import hashlib
import json
from typing import Any


def fingerprint(identity: Any) -> str:
    """32 hex digits (128 bits of SHA-256) of the canonical JSON form.

    Raises:
        TypeError: a value without a stable form (anything that is not plain JSON).
        ValueError: NaN or infinity.
    """
    _require_plain(identity, "identity")
    canonical = json.dumps(identity, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:32]


def _require_plain(value: Any, path: str) -> None:
    """json.dumps would turn a tuple into a list and an integer key into a string: refuse both."""
    if value is None or type(value) in (bool, int, float, str):
        return
    if type(value) is list:
        for index, item in enumerate(value):
            _require_plain(item, f"{path}[{index}]")
    elif type(value) is dict:
        for key, item in value.items():
            if type(key) is not str:
                raise TypeError(f"{path} has the key {key!r}, which is not a string")
            _require_plain(item, f"{path}.{key}")
    else:
        raise TypeError(f"{path} is a {type(value).__name__}, which has no stable form: {value!r}")


def drift(old: Any, new: Any, path: str = "") -> list[str]:
    """Every field in which two identities differ, as `path: old -> new`."""
    if isinstance(old, dict) and isinstance(new, dict):
        lines = []
        for key in sorted(old.keys() | new.keys()):
            below = f"{path}.{key}" if path else key
            if key not in old:
                lines.append(f"{below}: (absent) -> {json.dumps(new[key])}")
            elif key not in new:
                lines.append(f"{below}: {json.dumps(old[key])} -> (absent)")
            else:
                lines += drift(old[key], new[key], below)
        return lines
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        pairs = enumerate(zip(old, new, strict=True))
        return [line for index, (before, after) in pairs for line in drift(before, after, f"{path}[{index}]")]
    if old != new or type(old) is not type(new):
        return [f"{path}: {json.dumps(old)} -> {json.dumps(new)}"]
    return []
