"""The `co2_eq_emissions` block of a model card, read back as the Hub reads it."""

from pathlib import Path
from typing import Any

import pytest
from exported_accounts import COMPLETE, MISSING, exported
from huggingface_hub import ModelCard

from collapse_ray.config.errors import InvalidInput
from collapse_ray.ledger.exports.huggingface import Spec

CARD = "---\nlicense: mit\ntags:\n- vae\n---\n# A generator\n\nWith a text.\n"


def block(path: Path) -> dict[str, Any]:
    return ModelCard.load(path).data["co2_eq_emissions"]


def test_the_block_has_grams_and_says_what_they_rest_on(tmp_path: Path) -> None:
    given = exported(*COMPLETE, region="Quebec", country="Canada")
    path = Spec(training_type="pre-training").write(given, tmp_path)
    assert path == tmp_path / "README.md"
    found = block(path)
    source = found.pop("source")
    assert found == {
        "emissions": pytest.approx(255.0),  # 2.125 kWh x 1.2 x 100 g/kWh
        "training_type": "pre-training",
        "geographical_location": "Quebec, Canada",
        "hardware_used": "1 x RAPL package-0, 1 x RAPL dram, 2 x NVIDIA H100",
    }
    assert source.startswith("collapse-ray ")
    assert source.endswith(
        "(train, evaluate: 2.125 kWh of cpu, dram, gpu; 88.2 % counter, 11.8 % estimated; PUE 1.2; "
        "location-based: 100 g CO2e/kWh in Nowhere; source: nobody, 2026, CC0)"
    )


def test_a_partly_unmeasured_total_is_called_a_lower_bound(tmp_path: Path) -> None:
    found = block(Spec(training_type="fine-tuning").write(exported(*COMPLETE, MISSING), tmp_path))
    assert "; lower bound: 100 s of 4200 s of device time unmeasured (cpu); " in found["source"]
    assert "geographical_location" not in found


def test_grams_need_an_intensity(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="give the carbon intensity"):
        Spec(training_type="pre-training").write(exported(*COMPLETE, carbon=False), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [CARD, CARD.replace("\n", "\r\n"), "# A generator without metadata\n"])
def test_the_rest_of_a_card_stays(content: str, tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_bytes(content.encode())
    Spec(training_type="pre-training").write(exported(*COMPLETE), path)
    assert path.read_bytes().decode().endswith(content.rpartition("---")[2].lstrip("\r\n"))
    assert ModelCard.load(path).data.to_dict().keys() == {*ModelCard(content).data.to_dict(), "co2_eq_emissions"}
    Spec(training_type="fine-tuning").write(exported(*COMPLETE), path)  # our own block is replaced
    assert block(path)["training_type"] == "fine-tuning"
    assert path.read_text().count("co2_eq_emissions") == 1


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (CARD.replace("license: mit", "license: mit  # since 2025"), "comments or the layout"),
        (CARD.replace("license: mit", "co2_eq_emissions: 12"), "not ours"),
        (CARD.replace("license: mit", "co2_eq_emissions:\n  emissions: 12\n  source: CodeCarbon"), "not ours"),
    ],
)
def test_what_others_wrote_is_left_alone(content: str, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text(content)
    with pytest.raises(InvalidInput, match=reason):
        Spec(training_type="pre-training").write(exported(*COMPLETE), path)
    assert path.read_text() == content
    Spec(training_type="pre-training").write(exported(*COMPLETE), path, force=True)
    assert block(path)["emissions"] == pytest.approx(255.0)
    assert path.read_text().endswith("# A generator\n\nWith a text.\n")


@pytest.mark.parametrize("metadata", ["- a list", "license: [mit"])
def test_metadata_that_cannot_be_read_is_never_replaced(metadata: str, tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text(f"---\n{metadata}\n---\n# A generator\n")
    with pytest.raises(InvalidInput, match="mend it first"):
        Spec(training_type="pre-training").write(exported(*COMPLETE), path, force=True)
