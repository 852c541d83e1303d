"""The fingerprints of a few lineages stay what they were when stores were filled with them."""

from typing import Any

import pytest
from identified_lineages import Identities, lineage_of

from collapse_ray.artifact.fingerprint import fingerprint

# Frozen: a change here orphans every store. If it is meant, raise the stage's number in identity.STAGE_VERSION. ------

GOLDEN: dict[str, tuple[dict[str, Any], list[str]]] = {
    "digits": (
        {
            "source": "digits",
            "family": {"kind": "vae", "latent_size": 8, "hidden": [32, 64], "likelihood": "gaussian"},
            "regime": "replace",
            "train": {"steps": 1500, "batch_size": 64, "optimizer": {"lr": 5.0e-3}, "precision": "bf16"},
            "evaluate": {"num_samples": 1024},
        },
        [
            "ingest a1363d73a25dac809f2ce62dfb694415",
            "ingest 173e0910543754db38ca738a421acc77",
            "train c9625b23d757a54f12cb66147e05131f",
            "evaluate 85d68308ea3e85f3bd320896a19e6b56",
            "generate 2ec7b53840a2e2a00508c3ab32753468",
            "train 9b985edb89536d367ae86470c2a47f0d",
            "evaluate 98306c01a8bf6cd79141c1cf2107c22f",
        ],
    ),
    "pydoc": (
        {
            "source": {"kind": "pydoc", "context": 64},
            "family": {"kind": "transformer", "num_layers": 2, "num_heads": 2, "hidden_size": 64},
            "regime": {"kind": "mix", "real_fraction": 0.5},
            "train": {"epochs": 1, "batch_size": 32, "schedule": "cosine", "warmup_steps": 10},
            "evaluate": {},
        },
        [
            "ingest e5a7efe29fc30c302cbbebf626a75b52",
            "ingest 23db52382bf53772523f5fb9c0ea9d2a",
            "train 481b78929e51404b1b3b771587e944f2",
            "evaluate 653f238e070edb9d453b0a828672923b",
            "generate 2a215ba5580059ebf265d7ca8a97f200",
            "train e86468e5b403b9ef0f94b3a3cd491b88",
            "evaluate c21533c4dc8752679ec5fabe5a6ad0cd",
        ],
    ),
    "normal": (
        {
            "source": {"kind": "normal", "num_samples": 200, "replicas": 100},
            "family": {"kind": "gaussian", "ddof": 1},
            "regime": "accumulate",
            "evaluate": {"num_samples": 0},
        },
        [
            "ingest 1023a5f1c39d15b673434165d418dad4",
            "ingest d1282d2b3389f9d1d2127a3da1804600",
            "train 3d5dcd1eeabd8f8f7a5d7d42a5cb35fe",
            "evaluate 5e04822824bb91676c56534e430b4b47",
            "generate 4a5e8d5e4a082868c534eae21e81d79c",
            "train 4c8b85b4f44039327771538b5cac0b65",
            "evaluate 87ffa3d128bf4d84fe0fd791cb3b6166",
        ],
    ),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_fingerprints_are_frozen(name: str, identities_of: Identities) -> None:
    fields, expected = GOLDEN[name]
    found = identities_of(lineage_of(**fields, depth=2))
    assert [f"{of['stage']} {fingerprint(of)}" for of in found] == expected
