"""The sweep files that are shipped: each loads, says what it is for, and can be judged."""

from pathlib import Path

import pytest

from collapse_ray.search.check import check_sweep
from collapse_ray.search.spec import load_sweep

ROOT = Path(__file__).parents[2]
SWEEPS = sorted(path for path in (ROOT / "jobs" / "specs").glob("*.yaml") if "\naxes:" in path.read_text())


def test_there_are_some() -> None:
    assert {path.stem for path in SWEEPS} >= {"gaussian_frontier", "digits_sweep", "wikitext2_sweep"}


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_a_shipped_sweep_opens_with_what_to_expect(path: Path) -> None:
    first, *others = path.read_text().splitlines()
    assert first.startswith(f"# collapse sweep {path.relative_to(ROOT)}")
    comments = [line for line in others if line.startswith("# Expected ")]
    assert [line.split(":")[0].split(" (")[0] for line in comments] == ["# Expected time", "# Expected result"]
    load_sweep(path)


@pytest.mark.parametrize("path", [path for path in SWEEPS if "wikitext2" not in path.stem], ids=lambda path: path.stem)
def test_a_shipped_sweep_passes_its_checks(path: Path) -> None:
    check_sweep(load_sweep(path))


@pytest.mark.slow  # trains a tokenizer
def test_the_sweep_of_text_passes_its_checks(shared_data: Path) -> None:
    path = ROOT / "jobs" / "specs" / "wikitext2_sweep.yaml"
    sweep = load_sweep(path, [f"base.source.path={shared_data}/wikitext-2/train.txt"])
    assert check_sweep(sweep) == "tokens"
