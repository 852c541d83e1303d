from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from collapse_ray.artifact.store import Store
from collapse_ray.config.payload import Payload
from collapse_ray.report.arms import read_arms
from collapse_ray.report.figure import lineage_figure
from collapse_ray.report.results import load
from collapse_ray.report.samples import Contact, contact_sheet, first_samples


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that were saved, to be looked into."""
    figures: list[Figure] = []
    save = Figure.savefig

    def keep(figure: Figure, *arguments: Any, **options: Any) -> None:
        figures.append(figure)
        save(figure, *arguments, **options)

    monkeypatch.setattr(Figure, "savefig", keep)
    return figures


def image_store(written: Callable) -> tuple[Store, dict[str, Any]]:
    """One lineage of two generations: real rows are 10, the evaluation samples of generation t are 200 + t."""
    payload = Payload("image", (1, 2, 3))
    store = written(payload)
    real = store.samples(np.full((5, *payload.shape), 10, np.uint8), content={})
    made = store.samples(np.full((5, *payload.shape), 200, np.uint8), made=1)
    entries = []
    for generation, samples in ((1, made), (2, None)):
        model = store.artifact("model", {"m": generation}, metrics={"train_loss": 1.0})
        preview = np.full((5, *payload.shape), 200 + generation, np.uint8)
        evaluation = store.evaluation(preview, {"e": generation}, metrics={"real_test_loss": float(generation)})
        entries.append({"generation": generation, "model": model, "evaluation": evaluation, "samples": samples})
    fractions = {"real_fraction": None, "realised_real_fraction": 1.0}
    return store.store, store.index("x", real, [{**entry, **fractions} for entry in entries])


@pytest.mark.slow
def test_panels_curves_and_legend(gaussian_store: Store, tmp_path: Path, drawn: list[Figure]) -> None:
    path = tmp_path / "figure.png"
    results = load(gaussian_store)
    lineage_figure(gaussian_store, results, read_arms(gaussian_store), path)
    (figure,) = drawn
    (panels,) = figure.subfigs
    assert figure.get_suptitle() == "source: normal   ·   family: gaussian"
    assert [axis.get_title() for axis in panels.axes] == [
        "real data in the training pool",
        "real-test loss",
        "variance ratio",
        "Fréchet distance",
        "precision",
        "recall",
    ]
    assert [text.get_text() for text in panels.legends[0].get_texts()] == ["half (3 seeds)", "replace"]
    loss = panels.axes[1]
    assert loss.get_ylabel() == "nats"
    # Three thin lines and the mean of `half`, then the one lineage of `replace`.
    assert len(loss.lines) == 5
    values = results.loc[results["lineage"].str.startswith("half") & results["metric"].eq("real_test_loss")]
    truth = [values.loc[values["generation"].eq(t), "value"].astype(float).sum() / 3 for t in (1, 2, 3)]
    np.testing.assert_allclose(np.asarray(loss.lines[3].get_ydata(), float), truth)
    assert all(float(tick).is_integer() for tick in loss.get_xticks())


@pytest.mark.slow
def test_the_picture_is_not_blank(gaussian_store: Store, tmp_path: Path) -> None:
    path = tmp_path / "figure.png"
    lineage_figure(gaussian_store, load(gaussian_store), read_arms(gaussian_store), path)
    pixels = np.asarray(Image.open(path).convert("RGB"))
    blue, orange = (0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00)
    assert all((pixels == colour).all(-1).sum() > 100 for colour in (blue, orange))


@pytest.mark.slow
def test_svg_by_suffix(gaussian_store: Store, tmp_path: Path) -> None:
    path = tmp_path / "figure.svg"
    lineage_figure(gaussian_store, load(gaussian_store), read_arms(gaussian_store), path)
    assert path.read_text().startswith("<?xml")


@pytest.mark.slow
def test_images_show_samples_of_every_generation(write_store: Callable, tmp_path: Path, drawn: list[Figure]) -> None:
    store, _ = image_store(write_store)
    lineage_figure(store, load(store), read_arms(store), tmp_path / "figure.png")
    axis = drawn[0].subfigs[1].axes[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["real", "1", "2"]
    assert axis.get_title() == "x, seed 0"
    pixels = np.asarray(Image.open(tmp_path / "figure.png").convert("L"))
    assert (pixels == 10).sum() > 100
    assert (pixels == 201).sum() > 100
    assert (pixels == 202).sum() > 100


def test_samples_of_every_generation_stay_after_retention(write_store: Callable) -> None:
    store, index = image_store(write_store)
    store.retire("samples", index["generations"][0]["samples"])
    contact = first_samples(store, index, 2)
    assert contact.generations == (0, 1, 2)
    for payload, value in zip(contact.payloads, (10, 201, 202), strict=True):
        np.testing.assert_array_equal(payload, np.full((2, 1, 2, 3), value))


def test_contact_sheet_by_hand() -> None:
    """Two generations of 1 x 2 pixel images, two samples of the first and one of the second, white between them."""
    first = np.array([[[[1, 2]]], [[[3, 4]]]], np.uint8)
    second = np.array([[[[5, 6]]]], np.uint8)
    sheet = contact_sheet(Contact((0, 1), (first, second)))
    w = 255
    np.testing.assert_array_equal(sheet[..., 0], [[1, 2, w, 3, 4], [w, w, w, w, w], [5, 6, w, w, w]])


def test_contact_sheet_keeps_colours() -> None:
    image = np.array([[[[1]], [[2]], [[3]]]], np.uint8)
    np.testing.assert_array_equal(contact_sheet(Contact((0,), (image,))), [[[1, 2, 3]]])
