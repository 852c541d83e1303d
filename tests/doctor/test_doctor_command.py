"""`collapse doctor`: table, JSON and exit code, over a site without Ray."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import typer
from plain_site import NODE, PlainSite
from typer.testing import CliRunner, Result

from collapse_ray.cli.commands import doctor
from collapse_ray.config.errors import InvalidInput
from collapse_ray.doctor import diagnose, ray_site
from collapse_ray.doctor.checks.network import free_port
from collapse_ray.doctor.finding import Finding, Status
from collapse_ray.doctor.site import Failure

LOST = Failure("lost-cd34", "no answer in 120 s")


@pytest.fixture(autouse=True)
def no_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """What they find is the business of other tests."""
    monkeypatch.setattr(diagnose, "all_checks", dict)


def run(monkeypatch: pytest.MonkeyPatch, site: PlainSite, *arguments: str) -> Result:
    @contextmanager
    def connected(address: str | None, store: str | None) -> Iterator[PlainSite]:
        assert (address, store) == ("auto", None)
        yield site

    monkeypatch.setattr(ray_site, "connected", connected)
    app = typer.Typer()
    doctor.register(app)
    return CliRunner().invoke(app, ["--address", "auto", *arguments])


def test_a_healthy_site(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(monkeypatch, PlainSite())
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1] == "1 node: 0 faults, 0 warnings"


def test_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(monkeypatch, PlainSite(unreachable=[LOST]))
    assert result.exit_code == 1
    assert result.stdout.splitlines()[-1] == "2 nodes: 1 fault, 0 warnings"
    first, *_ = (line.split() for line in result.stdout.splitlines() if line.startswith("reached"))
    assert first[:3] == ["reached", "lost-cd34", "fault"]


def test_json(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(monkeypatch, PlainSite(unreachable=[LOST]), "--json")
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert not found["healthy"]
    assert found["nodes"] == ["here-ab12", "lost-cd34"]
    assert [(one["check"], one["node"], one["status"]) for one in found["findings"]] == [
        ("reached", "here-ab12", "ok"),
        ("reached", "lost-cd34", "fault"),
    ]


def test_nothing_listens_at_the_address() -> None:
    """Ray itself would wait for ever."""
    with (
        pytest.raises(InvalidInput, match=r"127\.0\.0\.1:\d+: .*refused"),
        ray_site.connected(f"127.0.0.1:{free_port(NODE)}", None),
    ):
        pass


def test_equal_findings_are_one_row_and_the_worst_comes_first() -> None:
    nodes = [f"n{index}" for index in range(6)]
    warm = [Finding(node, Status.warning, "warm", "cool it") for node in nodes[:5]]
    rows = list(doctor._rows([*warm, Finding("n5", Status.fault, "hot", "put it out")]))
    assert [(names, finding.found) for names, finding in rows] == [(["n5"], "hot"), (nodes[:5], "warm")]
    assert doctor._say_nodes(nodes[:5], nodes) == "n0, n1, n2, 2 more"
    assert doctor._say_nodes(nodes, nodes) == "all 6 nodes"
