"""What every source must keep, whoever adds it: a new file in the folder is tested without a line here.

A kind that needs files has an example below; any other must be constructible from its name alone.
"""

import json
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import collapse_ray.data.sources
from collapse_ray.artifact.fingerprint import fingerprint
from collapse_ray.data.source import RealData, SourceSpec


def images(folder: Path) -> dict[str, Any]:
    x = np.random.default_rng(0).integers(0, 256, (12, 5, 6)).astype(np.uint8)
    np.savez(folder / "train.npz", x=x)
    np.savez(folder / "test.npz", x=x[:3])
    return {"path": str(folder / "train.npz"), "holdout": str(folder / "test.npz")}


def text(folder: Path) -> dict[str, Any]:
    (folder / "train.txt").write_text("The quick brown fox jumps over the lazy dog.\n" * 20)
    (folder / "test.txt").write_text("Pack my box with five dozen liquor jugs.\n" * 5)
    return {
        "path": str(folder / "train.txt"),
        "holdout": str(folder / "test.txt"),
        "context": 16,
        "tokenizer": {"bpe": 270},
    }


def csv(folder: Path) -> dict[str, Any]:
    lines = ["a,b,c", *(f"{i},{i * i},{'xyz'[i % 3]}" for i in range(12))]
    (folder / "train.csv").write_text("\n".join(lines))
    return {"path": str(folder / "train.csv"), "columns": ["c", "a"]}


def parquet(folder: Path) -> dict[str, Any]:
    pq.write_table(pa.table({"a": np.arange(12.0), "b": np.arange(12) % 5}), folder / "train.parquet")
    return {"path": str(folder / "train.parquet")}


EXAMPLES: dict[str, Callable[[Path], dict[str, Any]]] = {
    "images": images,
    "text": text,
    "csv": csv,
    "parquet": parquet,
}

SEED = 7


def example(kind: str, folder: Path) -> SourceSpec:
    folder.mkdir()
    fields = EXAMPLES[kind](folder) if kind in EXAMPLES else {}
    return SourceSpec.resolve({"kind": kind, **fields})


@pytest.fixture(params=SourceSpec.kinds())
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def opened(kind: str, tmp_path: Path) -> RealData:
    return example(kind, tmp_path / "data").open(SEED)


def splits(data: RealData) -> list:
    return [rows for rows in (data.rows, data.holdout) if rows is not None]


def test_payload_is_what_was_declared(opened: RealData) -> None:
    for rows in splits(opened):
        assert len(rows) > 0
        payload = rows.read(0, len(rows))
        assert payload.shape == (len(rows), *opened.payload.shape)
        assert payload.dtype == opened.payload.dtype
        if opened.payload.kind == "tokens":
            assert opened.payload.vocab_size is not None
            assert 0 <= payload.min() <= payload.max() < opened.payload.vocab_size
        else:
            assert opened.payload.vocab_size is None
            assert np.isfinite(payload).all()


def test_rows_are_read_at_random(opened: RealData) -> None:
    for rows in splits(opened):
        whole = rows.read(0, len(rows))
        np.testing.assert_array_equal(rows.read(2, 3), whole[2:3])
        np.testing.assert_array_equal(rows.read(0, 2), whole[:2])
        np.testing.assert_array_equal(rows.read(1, len(rows)), whole[1:])
        assert rows.read(2, 2).shape == (0, *opened.payload.shape)


def test_opening_twice_gives_the_same(kind: str, tmp_path: Path) -> None:
    spec = example(kind, tmp_path / "data")
    first, second = spec.open(SEED), spec.open(SEED)
    assert first.payload == second.payload
    assert first.content == second.content
    assert first.files == second.files
    for one, other in zip(splits(first), splits(second), strict=True):
        np.testing.assert_array_equal(one.read(0, len(one)), other.read(0, len(other)))


def test_data_that_moved_is_the_same_data(kind: str, tmp_path: Path) -> None:
    here, there = example(kind, tmp_path / "here"), example(kind, tmp_path / "there")
    identities = [{"spec": spec.identity(), "content": spec.open(SEED).content} for spec in (here, there)]
    assert fingerprint(identities[0]) == fingerprint(identities[1])
    assert str(tmp_path) not in json.dumps(identities)


def test_rows_that_depend_on_the_seed_have_an_identity_that_does(kind: str, tmp_path: Path) -> None:
    spec = example(kind, tmp_path / "data")
    one, other = spec.open(0), spec.open(1)
    same_rows = np.array_equal(one.rows.read(0, len(one.rows)), other.rows.read(0, len(other.rows)))
    assert (one.content == other.content) == same_rows


def test_dump_resolves_to_the_same_spec(kind: str, tmp_path: Path) -> None:
    spec = example(kind, tmp_path / "data")
    assert SourceSpec.resolve(json.loads(json.dumps(spec.dump()))) == spec


def test_a_new_file_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "planted.py").write_text(
        dedent("""
        import numpy as np
        from collapse_ray.config.payload import Payload
        from collapse_ray.data.source import ArrayRows, RealData, SourceSpec

        class Spec(SourceSpec):
            def open(self, seed):
                return RealData(Payload("vector", (1,)), ArrayRows(np.zeros((4, 1))))
        """)
    )
    package = collapse_ray.data.sources
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
    assert "planted" in SourceSpec.kinds()
    assert len(SourceSpec.resolve("planted").open(0).rows) == 4
