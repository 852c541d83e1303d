"""JSON from a web service; nothing is asked for unless a spec names a live kind."""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

from collapse_ray.config.errors import RunFailed

TIMEOUT_S = 30.0
SERVICE = r"^(https://|http://(localhost|127\.0\.0\.1)(:\d+)?(/|$))"
"""Form of a service's address: tokens go over encrypted connections, or stay on this machine."""


def get_json(url: str, query: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None) -> Any:
    """What the service answers.

    Raises:
        RunFailed: no answer, an answer that is an error, or one that is not JSON. Headers, which may hold a token, are
            in no message.
    """
    address = f"{url}?{urlencode(query)}" if query else url
    request = Request(address, headers={"Accept": "application/json", **(headers or {})})  # noqa: S310 - see SERVICE
    try:
        with urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310
            return json.load(answer)
    except HTTPError as error:
        reason = f"HTTP {error.code} {error.reason}"
    except (URLError, TimeoutError, json.JSONDecodeError) as error:
        reason = str(error)
    raise RunFailed(f"{address} did not answer: {reason}; try again, or give kind series or table instead")


def utc(unix_s: float) -> str:
    """ISO 8601 to the minute, as these services take it."""
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%dT%H:%MZ")


def unix_s(text: str) -> float:
    """Unix seconds of an ISO 8601 time with an offset."""
    return datetime.fromisoformat(text).timestamp()


def number(value: float | None) -> float:
    """A value of an answer; null is NaN, a gap."""
    return float("nan") if value is None else float(value)


def windows(begin_unix_s: float, end_unix_s: float, step_s: float, longest_s: float) -> Iterator[tuple[float, float]]:
    """Consecutive windows that cover an interval: ends on multiples of `step_s`, none longer than `longest_s`."""
    begin = begin_unix_s // step_s * step_s
    end = max(-(-end_unix_s // step_s) * step_s, begin + step_s)
    while begin < end:
        yield begin, min(begin + longest_s, end)
        begin += longest_s
