"""Access: who reaches Ray's dashboard and control port, and whether they are asked for the token.

Ray runs the code of whoever reaches either (CVE-2023-48022).
"""

import ipaddress
import os
import stat
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from collapse_ray.doctor.check import Check
from collapse_ray.doctor.finding import Finding, Status
from collapse_ray.doctor.site import Node, Site

JOBS = "/api/jobs/"
"""Asked without a token; whoever gets an answer may submit jobs as well."""
ANSWER_S = 10.0
HOW = (
    "set RAY_AUTH_MODE=token on every node and client, make a token (ray get-auth-token --generate), "
    "and start Ray anew (docs/clusters.md)"
)


@dataclass(frozen=True)
class Head:
    """What the head's ports show."""

    dashboard_port: int | None
    dashboard_hosts: tuple[str, ...]
    """Addresses that the dashboard listens on: 127.0.0.1, 0.0.0.0, …"""
    dashboard_answers: bool
    """It answers requests without a token."""
    gcs_hosts: tuple[str, ...]
    """Addresses that Ray's control port listens on."""


@dataclass(frozen=True)
class Facts:
    """Of all nodes."""

    head_node: str
    head: Head | None
    """None where the head did not answer."""
    token_auth: dict[str, bool]
    """By node: its processes ask for the token."""
    token_files: dict[str, str]
    """By node: a token's file that other users of the node may read."""
    is_temporary: bool


class Examination(Check[Facts]):
    """The head's ports, and every node's token."""

    def examine(self, site: Site) -> Facts:
        head = next((node for node in site.nodes if node.is_head), None)
        files = site.each(open_token_file)
        return Facts(
            head_node="head" if head is None else head.name,
            head=None if head is None else site.each(probe, site.dashboard_port, site.gcs_port).get(head.name),
            token_auth={node.name: node.token_auth for node in site.nodes},
            token_files={node: path for node, path in files.items() if path is not None},
            is_temporary=site.is_temporary,
        )

    def judge(self, facts: Facts) -> Iterator[Finding]:
        for node, file in facts.token_files.items():
            found = f"other users of this node may read the token: {file}"
            yield Finding(node, Status.warning, found, f"chmod 600 {file}")
        for node, asks in facts.token_auth.items():
            if node != facts.head_node and asks:
                yield Finding(node, Status.ok, "token authentication is on")
            elif node != facts.head_node:
                yield Finding(node, Status.warning, "token authentication is off", HOW)
        if facts.head is not None:
            yield from _judge_head(facts, facts.head)


def _judge_head(facts: Facts, head: Head) -> Iterator[Finding]:
    node, asks = facts.head_node, facts.token_auth[facts.head_node]
    hosts = ", ".join(f"{host}:{head.dashboard_port}" for host in head.dashboard_hosts)
    auth = f"token authentication is {'on' if asks else 'off'}"
    if not hosts and not facts.is_temporary:
        fix = "ray start --head --include-dashboard=true (on 127.0.0.1, Ray's default)"
        found = "no dashboard runs, and Ray Train asks it what stopped lineages still hold"
        yield Finding(node, Status.warning, found, fix)
    is_open = not all(map(_is_loopback, head.dashboard_hosts))
    if head.dashboard_answers and is_open:
        found = f"the dashboard is open to the network: {hosts} runs code for anyone, without a token"
        yield Finding(node, Status.fault, found, f"{HOW}; or --dashboard-host=127.0.0.1")
    elif not asks and not all(map(_is_loopback, head.gcs_hosts)):
        found = f"{auth}: Ray's control port on {', '.join(head.gcs_hosts)} runs code for anyone who reaches it"
        yield Finding(node, Status.warning, found, f"{HOW}; until then a private network is all that protects it")
    else:
        yield Finding(node, Status.ok, f"{auth}; dashboard: {hosts or 'none'}")


def _is_loopback(host: str) -> bool:
    return ipaddress.ip_address(host).is_loopback


def probe(node: Node, dashboard_port: int | None, gcs_port: int) -> Head | None:
    """Looks at the listening sockets of the head, and asks the dashboard."""
    if not node.is_head:
        return None
    hosts = () if dashboard_port is None else listening(dashboard_port)
    return Head(dashboard_port, hosts, any(_answers(host, dashboard_port) for host in hosts), listening(gcs_port))


def listening(port: int) -> tuple[str, ...]:
    """Addresses of this node on which something listens at a port."""
    bound = [one.laddr for one in psutil.net_connections("tcp") if one.status == psutil.CONN_LISTEN and one.laddr]
    return tuple(sorted({address.ip for address in bound if address.port == port}))


def _answers(host: str, port: int | None) -> bool:
    """Whether the dashboard lists its jobs to one who has no token."""
    at = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy would be asked in its place
    try:
        with direct.open(f"http://{at}:{port}{JOBS}", timeout=ANSWER_S) as answer:
            return answer.status == 200
    except urllib.error.HTTPError as error:
        error.close()
        return error.code not in (401, 403)


def open_token_file(_: Node) -> str | None:
    """The file of the token, where other users of this node may read it."""
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH", "~/.ray/auth_token")).expanduser().absolute()
    if not path.exists() or not path.stat().st_mode & stat.S_IROTH:
        return None
    return str(path) if all(folder.stat().st_mode & stat.S_IXOTH for folder in path.parents) else None
