"""The `co2_eq_emissions` block of a model card, which the Hugging Face Hub shows beside a model.

https://huggingface.co/docs/hub/model-cards-co2: emissions in grams; the other fields are text.
"""

from typing import Any, ClassVar, Literal

import yaml
from huggingface_hub import ModelCard, ModelCardData

from collapse_ray.config.errors import InvalidInput
from collapse_ray.ledger.export import PRODUCER, Export, producer, work_of
from collapse_ray.ledger.exported import Carbon, Exported, Facts, Total

KEY = "co2_eq_emissions"


class Spec(Export):
    """The block, in the model card that is there or in a new one; the rest of the card stays as it is.

    `source` says how the joules were obtained, where the intensity is from, and what was not measured.
    """

    file_name: ClassVar[str] = "README.md"

    training_type: Literal["pre-training", "fine-tuning"]
    """What was paid for, in the words of the Hub."""

    def render(self, exported: Exported, existing: str | None, *, force: bool) -> str:
        block = self._block(work_of(exported), exported.facts)
        if not existing:
            return str(ModelCard(f"---\n{ModelCardData(co2_eq_emissions=block)}\n---\n"))
        card = _card(existing, force=force)
        card.data[KEY] = block
        return str(card)

    def _block(self, work: Total, facts: Facts) -> dict[str, Any]:
        if facts.carbon is None or work.carbon_g is None:
            raise InvalidInput(
                "the block is about grams of CO2, and the accounts have none; give the carbon intensity of the "
                "electricity, or choose codecarbon or boamps, which take energy alone"
            )
        block = {
            "emissions": work.carbon_g,
            "source": _source(work, facts, facts.carbon),
            "training_type": self.training_type,
            "geographical_location": ", ".join(
                filter(None, [facts.cloud_provider, facts.cloud_region, facts.region, facts.country])
            ),
            "hardware_used": ", ".join(work.hardware()),
        }
        return {key: value for key, value in block.items() if value != ""}


def _source(work: Total, facts: Facts, carbon: Carbon) -> str:
    kinds = sorted({row.device_kind for row in work.rows if row.energy_uj is not None})
    remarks = [
        f"{', '.join(work.stages()) or 'overhead'}: {work.energy_kwh():.6g} kWh of {', '.join(kinds)}",
        work.qualities(),
        work.shortfall(),
        "without PUE" if facts.pue is None else f"PUE {facts.pue:g}",
        f"{carbon.method}: {carbon.source}",
    ]
    return f"{producer()} ({'; '.join(filter(None, remarks))})"


def _card(existing: str, *, force: bool) -> ModelCard:
    """The card that is there.

    Raises:
        InvalidInput: its metadata cannot be read; or, unless forced, others' figures or remarks would be lost.
    """
    try:
        card = ModelCard(existing)
    except (ValueError, yaml.YAMLError) as error:
        raise InvalidInput(f"the metadata of the model card cannot be read ({error}); mend it first") from error
    block = card.data.get(KEY)
    ours = isinstance(block, dict) and str(block.get("source")).startswith(f"{PRODUCER} ")
    if force:
        return card
    if block is not None and not ours:
        raise InvalidInput(f"the model card has a {KEY} that is not ours; force it to replace that block")
    if existing not in (str(card), card.text):
        raise InvalidInput(
            "comments or the layout of the model card's metadata would be lost; force it to have them written anew"
        )
    return card
