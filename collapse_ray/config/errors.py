"""What a user is told in one message instead of a traceback."""

import difflib
from collections.abc import Iterable


class InvalidInput(ValueError):
    """What was given cannot be run: the message says what was given, what is allowed and what to do."""


class RunFailed(RuntimeError):
    """Work that was begun could not be finished: the message says why. What is published stays."""


def did_you_mean(given: str, choices: Iterable[str]) -> str:
    """A clause that names the nearest choice, where there is one, and lists them all."""
    choices = sorted(choices)
    nearest = difflib.get_close_matches(given, choices, n=1)
    hint = f"did you mean {nearest[0]!r}? " if nearest else ""
    return f"{hint}choices: {', '.join(choices) or '(none)'}"
