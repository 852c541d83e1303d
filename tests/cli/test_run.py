"""`collapse run` on stores that are full, damaged or of another version, and when it is stopped."""

import json
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cli_command import Command

from collapse_ray.config.errors import InvalidInput
from collapse_ray.data.audit import PlanMismatch
from collapse_ray.lineage import launch
from collapse_ray.train import machine
from collapse_ray.train.worker import GroupFailed


def files_of(store: Path) -> dict[str, bytes]:
    """Every file of the artifacts but the records, which tell when they were written."""
    paths = sorted(path for path in (store / "artifacts").rglob("*") if path.is_file() and path.name != "record.json")
    return {str(path.relative_to(store)): path.read_bytes() for path in paths}


def assert_nothing_is_half_written(store: Path) -> None:
    assert [path for path in (store / "staging").rglob("*") if path.is_file()] == []
    for artifact in (store / "artifacts").glob("*/*"):
        assert (artifact / "record.json").exists()


# What a user sees ---------------------------------------------------------------------------------


def test_output_that_goes_to_a_file_is_whole_lines(here: Path, collapse: Command) -> None:
    long = "a-name-that-is-longer-than-a-terminal-is-wide-" * 3
    outcome = collapse("run", "g.yaml", f"name={long}")
    assert outcome.code == 0
    lines = outcome.out.splitlines()
    assert lines[1] == f"1 lineage in this process: {long}"
    assert f"{long} seed 0  generation 1  train" in lines
    assert f"{long} seed 0  generation 2  generate" not in lines
    assert lines[-1] == f"results: {here}/store/results.parquet   figure: collapse report {here}/store"
    assert "\x1b" not in outcome.out
    assert outcome.err == ""


def test_the_same_command_again_says_what_it_finds(here: Path, collapse: Command) -> None:
    collapse("run", "g.yaml")
    lines = collapse("run", "g.yaml").out.splitlines()
    stages = ["1  train", "1  evaluate", "1  generate", "2  train", "2  evaluate"]
    assert lines[2:7] == [f"g seed 0  generation {stage}  already published" for stage in stages]


@pytest.mark.slow
def test_what_differs_from_the_stored_lineage_is_said(here: Path, collapse: Command) -> None:
    collapse("run", "g.yaml")
    again = collapse("run", "g.yaml", "family={kind: gaussian, ddof: 1}")
    assert "g seed 0 differs from the stored lineage: family.ddof: 0 -> 1" in again.out


@pytest.mark.slow
def test_the_table_holds_the_lineages_of_the_command_alone(here: Path, collapse: Command) -> None:
    shutil.copy(here / "g.yaml", here / "other.yaml")
    collapse("run", "other.yaml")
    outcome = collapse("run", "g.yaml", "seeds=[0,1]")
    assert "2 seeds" in outcome.out
    assert "other" not in outcome.out


def test_version(collapse: Command) -> None:
    outcome = collapse("--version")
    assert outcome.code == 0
    assert outcome.out.startswith("collapse-ray 0.")


@pytest.mark.parametrize(
    ("arguments", "teaches"),
    [
        ([], ["how many generations", "run", "list", "verify", "report"]),
        (["run", "--help"], ["the same command again resumes", "Examples", "run.workers=2", "seeds=[0,1,2]"]),
        (["list", "--help"], ["with the fields that each takes", "regimes"]),
    ],
)
def test_help_teaches(arguments: list[str], teaches: list[str], collapse: Command) -> None:
    outcome = collapse(*arguments)
    text = " ".join((outcome.out + outcome.err).split())
    assert [words for words in teaches if words not in text] == []


@pytest.mark.slow
def test_help_needs_no_torch_and_no_ray() -> None:
    script = (
        "import sys, collapse_ray.cli.main; print(*{'torch', 'ray', 'transformers', 'deepspeed'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


# Stopped and failed -------------------------------------------------------------------------------


def stops(with_error: BaseException) -> Callable[..., None]:
    def run_on_ray(*arguments: object) -> None:
        raise with_error

    return run_on_ray


def test_ctrl_c_says_how_to_go_on(here: Path, collapse: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "run_on_ray", stops(KeyboardInterrupt()))
    outcome = collapse("run", "g.yaml")
    assert outcome.code == 130
    assert outcome.err == "interrupted: what is published stays; the same command resumes from there\n"


@pytest.mark.parametrize("error", [PlanMismatch("40 rows of 41"), GroupFailed("the worker group failed 4 times")])
def test_work_that_failed_is_exit_code_1(
    error: Exception, here: Path, collapse: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "run_on_ray", stops(error))
    outcome = collapse("run", "g.yaml")
    assert (outcome.code, outcome.err) == (1, f"error: {error}\n")


# Damaged stores -----------------------------------------------------------------------------------


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def tear(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "name", "damage", "says"),
    [
        ("samples", "shard-00000.parquet", flip, "the file shard-00000.parquet does not have the checksum"),
        ("samples", "shard-00000.parquet", tear, "its record says"),
        ("samples", "shard-00000.parquet", Path.unlink, "the file shard-00000.parquet is missing"),
        ("model", "model.safetensors", flip, "the file model.safetensors does not have the checksum"),
        ("evaluation", "record.json", tear, "is not a record"),
        ("model", "record.json", Path.unlink, "lost its record"),
    ],
)
def test_what_is_damaged_is_named_and_made_again(
    kind: str, name: str, damage: Callable[[Path], object], says: str, here: Path, collapse: Command
) -> None:
    collapse("run", "g.yaml")
    whole = files_of(here / "store")
    damaged = sorted((here / "store" / "artifacts" / kind).glob(f"*/{name}"))
    for path in damaged:
        damage(path)
    outcome = collapse("run", "g.yaml")
    assert outcome.code == 0
    assert outcome.out.count(says) == len(damaged) > 0
    for path in damaged:
        assert f"warning: set aside artifacts/{kind}/{path.parent.name}: " in outcome.out
    assert files_of(here / "store") == whole
    assert_nothing_is_half_written(here / "store")


def test_a_record_of_another_schema_is_left_alone(here: Path, collapse: Command) -> None:
    collapse("run", "g.yaml")
    for path in (here / "store" / "artifacts" / "model").glob("*/record.json"):
        path.write_text(json.dumps({**json.loads(path.read_text()), "schema_version": 99}))
    before = {path: path.read_bytes() for path in (here / "store" / "artifacts").rglob("*") if path.is_file()}
    outcome = collapse("run", "g.yaml")
    assert outcome.code == 2
    assert "has schema version 99; this version of collapse-ray reads 2" in outcome.err
    assert "Use the version that wrote it, or another store" in outcome.err
    assert {path: path.read_bytes() for path in (here / "store" / "artifacts").rglob("*") if path.is_file()} == before


# Full disks ---------------------------------------------------------------------------------------

BIG = ["source={kind: normal, num_samples: 2000}", "depth=4"]


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"a small file system cannot be mounted here: {mounted.stderr.decode().strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.slow
def test_a_full_disk_stops_the_run_and_a_larger_one_resumes_it(here: Path, collapse: Command) -> None:
    disk = here / "disk"
    with small_disk(disk, "128k"):
        full = collapse("run", "g.yaml", *BIG, f"run.store={disk}/store")
        assert full.code == 2
        assert "No space left on device" in full.err
        assert "Free space there or give another with run.store=…, then run the same command again" in full.err
        assert collapse.started == 1
        assert_nothing_is_half_written(disk / "store")
        subprocess.run(["mount", "-o", "remount,size=2m", str(disk)], check=True)
        assert "already published" in (resumed := collapse("run", "g.yaml", *BIG, f"run.store={disk}/store")).out
        assert resumed.code == 0
        again = files_of(disk / "store")
    collapse("run", "g.yaml", *BIG)
    assert files_of(here / "store") == again


@contextmanager
def small_files(num_bytes: int) -> Iterator[None]:
    """No file of this process may grow beyond: every write fails as it does on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_what_could_not_be_written_leaves_nothing(here: Path, collapse: Command) -> None:
    with small_files(2000):
        full = collapse("run", "g.yaml", *BIG)
    assert full.code == 2
    assert "File too large" in full.err
    assert not collapse.started
    assert files_of(here / "store") == {}
    assert_nothing_is_half_written(here / "store")


# What the machine must have -----------------------------------------------------------------------


def test_a_compiled_operator_needs_no_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train, execution = machine.TrainSpec(steps=1), machine.RunConfig()
    nvme = {"zero_optimization": {"stage": 3, "offload_optimizer": {"device": "nvme"}}}
    monkeypatch.setenv("CXX", "/nowhere/g++ -O2")
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path))
    with pytest.raises(InvalidInput, match=r"compiler '/nowhere/g\+\+' is not on the PATH"):
        machine.check_training(train, execution, nvme)
    machine.check_training(train, execution, {"zero_optimization": {"stage": 3}})
    library = tmp_path / "async_io" / "async_io.so"
    library.parent.mkdir()
    library.touch()
    machine.check_training(train, execution, nvme)
