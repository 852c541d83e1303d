"""What all exports share: what they receive, and how a file is written."""

from pathlib import Path

import pandas as pd
import pytest
from exported_accounts import COMPLETE, KWH_UJ, LOCATION, MISSING, account, exported, table

from collapse_ray.config.errors import InvalidInput
from collapse_ray.ledger import export as module
from collapse_ray.ledger.export import Export
from collapse_ray.ledger.exported import Exported, Facts
from collapse_ray.ledger.exports.codecarbon import Spec as CodeCarbon

FACTS = Facts(run_id="store-1", project="digits")


def test_exports_are_found_by_kind() -> None:
    assert Export.kinds() == ("boamps", "codecarbon", "huggingface")
    assert Export.resolve("codecarbon") == CodeCarbon()


def test_nulls_of_any_table_are_none_and_integers_stay_exact() -> None:
    """Columns of integers with nulls are floats in one table and nullable integers in another."""
    rows = table(*COMPLETE, MISSING)
    nullable = rows.assign(energy_uj=rows["energy_uj"].astype("Int64"), generation=rows["generation"].astype("Int64"))
    through_arrow = nullable.convert_dtypes(dtype_backend="pyarrow")
    received = [Exported.of(each, FACTS) for each in (rows, nullable, through_arrow)]
    assert received[0] == received[1] == received[2]
    assert received[0].work.energy_uj == 17 * KWH_UJ // 8
    assert (received[0].rows[5].lineage, received[0].rows[5].generation) == (None, None)


def test_time_at_work_counts_overlap_once_and_pauses_never() -> None:
    spans = [(0, 10), (5, 12), (6, 8), (20, 25)]
    rows = [account(f"gpu-{index}", 1.0, begin, end) for index, (begin, end) in enumerate(spans)]
    assert exported(*rows).work.duration_s == 17.0


def test_contradictions_are_refused() -> None:
    with pytest.raises(ValueError, match="unmeasured has no joules"):
        Exported.of(table(account("gpu-0", 1.0, 0, 1, quality="unmeasured")), FACTS)
    with pytest.raises(ValueError, match="unmeasured has no joules"):
        Exported.of(table(account("gpu-0", None, 0, 1, quality="counter")), FACTS)
    partly = table(*COMPLETE).assign(carbon_g_location=[1.0, None, *[1.0] * 5])
    with pytest.raises(ValueError, match="carbon_g is None for some"):
        Exported.of(partly, Facts(run_id="s", project="p", carbon=LOCATION))


def test_the_method_of_the_facts_chooses_the_grams() -> None:
    both = table(COMPLETE[0]).assign(carbon_g_location=[5.0], carbon_g_market=pd.array([0.0], dtype="Float64"))
    assert Exported.of(both, Facts(run_id="s", project="p", carbon=LOCATION)).work.carbon_g == 5.0
    assert Exported.of(both, FACTS).work.carbon_g is None


def test_nothing_measured_is_not_zero(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="nothing was measured"):
        CodeCarbon(lower_bound=True).write(Exported.of(table(MISSING), FACTS), tmp_path)
    with pytest.raises(InvalidInput, match="no joules of a stage"):
        CodeCarbon().write(Exported.of(table(COMPLETE[5]), FACTS), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_former_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = CodeCarbon().write(exported(*COMPLETE), tmp_path)
    path.chmod(0o640)
    before = path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(module.os, "fsync", full)
        with pytest.raises(InvalidInput, match=r"emissions\.csv was not written: No space left"):
            CodeCarbon().write(exported(account("gpu-0", 1.0, 0, 1)), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    CodeCarbon().write(exported(account("gpu-0", 1.0, 0, 1)), path)
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_folder_that_is_not_there_and_a_file_that_is_no_text(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="give a file in a folder that exists"):
        CodeCarbon().write(exported(*COMPLETE), tmp_path / "absent" / "emissions.csv")
    path = tmp_path / "emissions.csv"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidInput, match="not text"):
        CodeCarbon().write(exported(*COMPLETE), path)
    CodeCarbon().write(exported(*COMPLETE), path, force=True)
    assert len(pd.read_csv(path)) == 1


def test_a_link_is_followed(tmp_path: Path) -> None:
    target = tmp_path / "target.csv"
    link = tmp_path / "emissions.csv"
    link.symlink_to(target)
    CodeCarbon().write(exported(*COMPLETE), link)
    assert link.is_symlink()
    assert len(pd.read_csv(target)) == 1
