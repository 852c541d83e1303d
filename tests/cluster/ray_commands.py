"""What `ray` and our own commands are started with where a cluster asks for a token."""

import os
import secrets
import sys
from pathlib import Path

BIN = Path(sys.executable).parent


def environment_with_token() -> dict[str, str]:
    """That of this process, without its settings of Ray; the token is a new one."""
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("RAY_")},
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
    }
