"""From YAML to views, or to a message that says what to do."""

import re
from pathlib import Path
from typing import Any

import pytest

from collapse_ray.config.errors import InvalidInput
from collapse_ray.config.load import read_mapping, validate
from collapse_ray.ledger.views.carbon import Intensity
from collapse_ray.ledger.views.spec import ViewsSpec


def views(**mapping: Any) -> ViewsSpec:
    return validate(ViewsSpec, mapping, "views")


def provenance(**carbon: Any) -> str:
    spec = views(carbon=carbon)
    assert spec.carbon is not None
    return str(spec.carbon.rate(0.0, 1.0).provenance)


def test_nothing_is_asked_for_by_default() -> None:
    spec = views()
    assert [name for name in ViewsSpec.model_fields if getattr(spec, name)] == []


def test_the_example_in_the_documentation_is_valid(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "views.md").read_text()
    (example,) = re.findall(r"```yaml\n(.*?)```", page, flags=re.DOTALL)
    path = tmp_path / "views.yaml"
    path.write_text(example)
    spec = validate(ViewsSpec, read_mapping(path, ["carbon={kind: table, country: DEU}"]), "views.yaml")
    assert [name for name in ViewsSpec.model_fields if not getattr(spec, name)] == []


def test_kinds() -> None:
    assert Intensity.kinds() == ("constant", "electricity_maps", "great_britain", "series", "table")


def test_a_country() -> None:
    assert provenance(kind="table", country="DEU") == (
        "344.14 g CO2e/kWh for Germany (DEU); source: Ember Yearly Electricity Data "
        "(https://ember-energy.org/data/yearly-electricity-data), 2024, CC BY 4.0; method: country average of "
        "generation; lifecycle CO2e; no imports and no network losses"
    )


def test_a_province_a_cloud_region_and_a_constant() -> None:
    assert "2.565 g CO2e/kWh for Quebec (CA-QC)" in provenance(kind="table", grid="CA-QC")
    in_cloud = provenance(kind="table", cloud="gcp", region="northamerica-northeast1")
    assert "2.565 g CO2e/kWh for gcp northamerica-northeast1, Montreal, by the grid of Quebec (CA-QC)" in in_cloud
    constant = provenance(kind="constant", g_per_kwh=12.5, source="label", year=2025)
    assert constant == "12.5 g CO2e/kWh; source: label, 2025"


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"carbon": {"kind": "tabel"}}, "unknown kind 'tabel'; did you mean 'table'"),
        ({"carbon": {"kind": "table", "country": "DE"}}, r"carbon.country: 'DE' .* did you mean 'DEU' \(Germany\)"),
        ({"carbon": {"kind": "table", "country": "Gremany"}}, "did you mean 'DEU'"),
        ({"carbon": {"kind": "table", "country": "CA-QC"}}, "carbon.country: 'CA-QC' is not in the table"),
        ({"carbon": {"kind": "table", "grid": "CA-QU"}}, "did you mean 'CA-QC'"),
        ({"carbon": {"kind": "table", "cloud": "aws", "region": "eu-centrl-1"}}, "did you mean 'eu-central-1'"),
        ({"carbon": {"kind": "table", "cloud": "amazon", "region": "x"}}, "'aws', 'azure' or 'gcp'"),
        ({"carbon": {"kind": "table"}}, "given nothing; give one of country=DEU"),
        ({"carbon": {"kind": "table", "cloud": "aws"}}, "given cloud; give one of"),
        ({"carbon": {"kind": "table", "country": "DEU", "grid": "CA-QC"}}, "given country, grid; give one of"),
        ({"carbon": {"kind": "constant", "g_per_kwh": 12}}, "carbon.source: missing"),
        ({"carbon": {"kind": "constant", "g_per_kwh": -1, "source": "me"}}, "a number of at least 0"),
        ({"carbon": {"kind": "electricity_maps", "zone": "DE", "url": "http://example.com"}}, "carbon.url"),
        ({"carbn": {"kind": "table", "country": "DEU"}}, "did you mean 'carbon'"),
        ({"pue": {"factor": 0.9, "source": "me"}}, "pue.factor: given 0.9; allowed: a number of at least 1"),
        ({"pue": {"factor": 1.2}}, "pue.source: missing"),
        ({"price": {"currency": "EUR", "source": "me"}}, "given neither of per_kwh and series"),
        ({"price": {"currency": "euro", "per_kwh": 0.3, "source": "me"}}, "price.currency"),
        ({"embodied": [{"total_kg": 1, "lifespan_years": 0, "source": "me"}]}, r"embodied\[0\].lifespan_years"),
        ({"embodied": [{"total_kg": 1, "lifespan_years": 4, "share": 2, "source": "me"}]}, r"embodied\[0\].share"),
        ({"sci": {"unit": "generation"}}, r"sci needs carbon and embodied: SCI = \(E x I \+ M\) per R"),
        ({"sci": {"unit": "run"}}, "sci.unit"),
    ],
)
def test_mistakes_are_explained(mapping: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        validate(ViewsSpec, mapping, "views")
