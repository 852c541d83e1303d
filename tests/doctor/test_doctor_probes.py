"""What is gathered on this machine, against what the machine says otherwise."""

import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from multiprocessing import get_context
from pathlib import Path

import pyarrow
import pytest
import torch
from plain_site import NODE, PlainSite

from collapse_ray.doctor.checks import access, clock, disk, energy, gpus, network, operators, store, versions
from collapse_ray.doctor.diagnose import REACHED, all_checks, diagnose
from collapse_ray.doctor.finding import Status
from collapse_ray.doctor.site import Failure

PAGE = Path(__file__).parents[2] / "docs" / "doctor.md"


@pytest.mark.slow
def test_this_machine_is_examined_without_ray(tmp_path: Path) -> None:
    found = diagnose(PlainSite(tmp_path / "store", [Failure("lost", "no answer in 120 s")]))
    assert list(found) == [REACHED, *all_checks()]
    assert all(findings for findings in found.values())
    assert [one.node for one in found[REACHED] if one.status is Status.fault] == ["lost"]
    for name in ("clock", "store", "versions"):
        assert [one.status for one in found[name]] == [Status.ok], found[name]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_probe_that_fails_is_a_fault_of_its_node() -> None:
    site = PlainSite()
    site.failing = clock.probe
    (found,) = diagnose(site)["clock"]
    assert (found.node, found.status) == (NODE.name, Status.fault)
    assert "ImportError: no such module" in found.found


def test_every_check_is_documented() -> None:
    page = PAGE.read_text()
    assert [name for name in all_checks() if f"| `{name}` |" not in page] == []


def test_versions_are_those_that_are_imported() -> None:
    names = versions.requirements()
    assert {"ray", "torch", "deepspeed", "pyarrow", "transformers", "nvidia-ml-py"} <= set(names)
    assert "pytest" not in names
    found = versions.installed(["torch", "pyarrow", "no-such-package"])
    assert (found["torch"], found["pyarrow"]) == (torch.__version__, pyarrow.__version__)
    assert found["no-such-package"] == versions.ABSENT


def test_code_of_one_version_is_told_apart(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for folder in (one, other):
        (folder / "part").mkdir(parents=True)
        (folder / "part" / "module.py").write_text("x = 1\n")
    assert versions.code_digest(one) == versions.code_digest(other)
    (other / "part" / "module.py").write_text("x = 2\n")
    assert versions.code_digest(one) != versions.code_digest(other)


@pytest.fixture
def no_tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)


@pytest.mark.usefixtures("no_tools")
def test_no_compiler_on_the_path() -> None:
    assert operators.probe(NODE).python_error == "the C++ compiler 'c++' is not on the PATH"


@pytest.mark.usefixtures("no_tools")
def test_a_compiler_that_fails_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "cxx"
    broken.write_text("#!/bin/sh\necho 'fatal error: Python.h: No such file' >&2; exit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("CXX", str(broken))
    assert operators.probe(NODE).python_error == "fatal error: Python.h: No such file"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("c++") is None, reason="there is no C++ compiler here")
def test_a_compiler_that_works() -> None:
    assert operators.probe(NODE).python_error is None


@pytest.mark.slow
def test_an_operator_that_was_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path))
    assert not operators.probe(NODE).built
    (tmp_path / "async_io").mkdir()
    (tmp_path / "async_io" / "async_io.so").touch()
    assert operators.probe(NODE).built


def test_space_is_that_of_df(tmp_path: Path) -> None:
    df = subprocess.run(
        ["df", "--block-size=1", "--output=size", str(tmp_path)], capture_output=True, text=True, check=True
    )
    site = PlainSite(tmp_path / "not" / "yet")
    disks = disk.Examination().examine(site)[NODE.name]
    assert disks.store is not None
    assert disks.store.total_bytes == int(df.stdout.split()[1])
    assert disks.store.path == str(tmp_path / "not" / "yet")


def test_a_store_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file where the folder should be")
    (found,) = store.Examination().judge(store.Examination().examine(PlainSite(tmp_path / "store")))
    assert found.status is Status.fault
    assert str(tmp_path / "store") in found.found


def test_a_store_that_is_in_use_is_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "doctor").mkdir()
    (tmp_path / "doctor" / "mine").touch()
    (tmp_path / "staging").mkdir()
    store.Examination().examine(PlainSite(tmp_path))
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")) == [
        "doctor",
        "doctor/mine",
        "staging",
    ]


@pytest.fixture
def port(request: pytest.FixtureRequest) -> Iterator[int]:
    """A dashboard that answers with the status of the test's parameter."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(request.param)
            self.end_headers()

        def log_message(self, format: str, *_: object) -> None: ...

    with HTTPServer(("0.0.0.0", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(("port", "answers"), [(200, True), (401, False), (403, False)], indirect=["port"])
def test_where_a_dashboard_listens_and_whom_it_answers(port: int, answers: bool) -> None:
    assert access.probe(NODE, port, port) == access.Head(port, ("0.0.0.0",), answers, ("0.0.0.0",))


def test_nothing_listens_on_a_free_port() -> None:
    free = network.free_port(NODE)
    assert access.listening(free) == ()
    with socket.create_server(("127.0.0.1", free)):
        assert access.listening(free) == ("127.0.0.1",)


def test_a_token_is_open_where_others_reach_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    token = tmp_path / "token"
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(token))
    assert access.open_token_file(NODE) is None
    token.touch(mode=0o600)
    assert access.open_token_file(NODE) is None
    token.chmod(0o644)
    tmp_path.chmod(0o700)
    assert access.open_token_file(NODE) is None
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", "/bin/sh")
    assert access.open_token_file(NODE) == "/bin/sh"


@pytest.mark.slow
def test_a_rank_alone_reduces_ones() -> None:
    meeting = f"tcp://127.0.0.1:{network.free_port(NODE)}"
    # As on a node, in a process of its own: that of the tests has DeepSpeed's process group once it has trained.
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        reduced = process.submit(network.probe, NODE, [NODE.name], "gloo", meeting).result()
    assert reduced is not None
    assert reduced.error is None
    assert reduced.duration_s > 0


def test_sensors_and_gpus_of_this_machine_are_counted() -> None:
    kinds = [device.kind for device in energy.probe(NODE).devices]
    assert gpus.probe(NODE).sensors == kinds.count("gpu")
    assert "cpu" in kinds or not Path("/proc/stat").exists()
