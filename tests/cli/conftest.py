"""A working directory with a spec, and the `collapse` command without Ray."""

from pathlib import Path

import pytest
from cli_command import Command

from collapse_ray.lineage import launch

GAUSSIAN = """
source: {kind: normal, num_samples: 50}
family: gaussian
regime: replace
depth: 2
run: {store: store}
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with the spec g.yaml of a small lineage; its store is `store`."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "g.yaml").write_text(GAUSSIAN)
    return tmp_path


@pytest.fixture
def collapse(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs lineages in this process."""
    command = Command(capsys, monkeypatch)
    monkeypatch.setattr(launch, "run_on_ray", command.run_on_ray)
    return command
