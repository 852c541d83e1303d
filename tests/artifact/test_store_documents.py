"""Documents, folders and energy that lie beside artifacts are read as they were written."""

from pathlib import Path

import pytest
from stored_models import WEIGHTS, paths, published

from collapse_ray.artifact.record import ArtifactEnergy, StoreError
from collapse_ray.artifact.store import Store, document_json


def test_documents(store: Store) -> None:
    assert store.read_document("lineages/a.json") is None
    assert store.list_documents("lineages") == []
    for content in (b"1", b"22", b""):
        store.write_document("lineages/a.json", content)
        assert store.read_document("lineages/a.json") == content
    store.write_document("lineages/b.json", b"b")
    store.write_document("lineages/deeper/c.json", b"c")
    assert store.list_documents("lineages") == ["lineages/a.json", "lineages/b.json"]


def test_folders(store: Store, tmp_path: Path) -> None:
    local, back = tmp_path / "local", tmp_path / "back"
    (local / "rank-0").mkdir(parents=True)
    (local / "rank-0" / "optim").write_bytes(WEIGHTS)
    (local / "step").write_text("3")
    store.write_document("checkpoints/k/other-rank", b"o")
    store.upload_folder(str(local), "checkpoints/k")
    store.upload_folder(str(local), "checkpoints/k")
    store.download_folder("checkpoints/k", str(back))
    found = {str(path.relative_to(back)): path.read_bytes() for path in back.rglob("*") if path.is_file()}
    assert found == {"rank-0/optim": WEIGHTS, "step": b"3", "other-rank": b"o"}
    store.delete_folder("checkpoints/k")
    store.delete_folder("checkpoints/k")
    assert paths(store, "checkpoints") == []


def test_document_json_is_canonical() -> None:
    assert document_json({"b": 1, "a": None}) == b'{\n "a": null,\n "b": 1\n}'
    with pytest.raises(ValueError, match="JSON"):
        document_json({"a": float("nan")})


def test_relative_and_home_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert Store("store").uri == str(tmp_path / "store")
    assert Store("~/store").uri == str(tmp_path / "home" / "store")


def test_energy_lies_beside_the_record_and_survives_what_rewrites_it(store: Store) -> None:
    of = published(store).fingerprint
    assert store.energy("model", of) is None
    store.write_energy("model", of, ArtifactEnergy(2.5, "estimated", unmeasured_s=1.0))
    store.write_energy("model", of, ArtifactEnergy(3.5, "counter"))
    store.retire("model", of)
    assert store.energy("model", of) == ArtifactEnergy(3.5, "counter")
    found = store.find("model", of, need_files=False)
    assert found is not None and found.retired


def test_energy_that_cannot_be_read_is_named(store: Store) -> None:
    of = published(store).fingerprint
    store._files.write(f"artifacts/model/{of}/energy.json", b"{}")
    with pytest.raises(StoreError, match=r"energy\.json cannot be read"):
        store.energy("model", of)
