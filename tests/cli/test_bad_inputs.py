"""What a user can get wrong: one clear message, exit code 2, nothing started and nothing half written."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from cli_command import Command
from PIL import Image

VAE = """
source: digits
family: {kind: vae, latent_size: 2, hidden: [4]}
regime: {kind: replace, num_samples: 64}
depth: 2
train: {steps: 3, batch_size: 16}
run: {store: store}
"""

Make = Callable[[Path], object]


class Case(NamedTuple):
    """A command, what it finds, and what its message must say: what was given, what is allowed, what to do."""

    arguments: list[str]
    says: list[str]
    make: Make = lambda folder: None


def run(*overrides: str, spec: str = "g.yaml") -> list[str]:
    return ["run", spec, *overrides]


def spec(text: str) -> Make:
    return lambda folder: (folder / "bad.yaml").write_text(text)


def vae(*overrides: str, says: list[str], make: Make = lambda folder: None) -> Case:
    def written(folder: Path) -> None:
        (folder / "v.yaml").write_text(VAE)
        make(folder)

    return Case(run(*overrides, spec="v.yaml"), says, written)


def ragged(folder: Path) -> None:
    for number, size in enumerate([(4, 5), (7, 5)]):
        Image.new("L", size).save(folder / f"{number}.png")


def broken_image(folder: Path) -> None:
    """Its header is whole, so it is found when it is read."""
    for number in range(9):
        Image.effect_noise((32, 32), 50).save(folder / f"{number}.png")
    path = folder / "5.png"
    path.write_bytes(path.read_bytes()[:300])


def cut_npz(folder: Path) -> None:
    np.savez(folder / "a.npz", x=np.zeros((20, 8, 8), np.uint8))
    (folder / "a.npz").write_bytes((folder / "a.npz").read_bytes()[:200])


def images(folder: Path) -> None:
    np.savez(folder / "a.npz", x=np.zeros((20, 8, 8), np.uint8))


def text(length: int) -> Make:
    return lambda folder: (folder / "a.txt").write_text("a quick fox. " * (length // 13))


def deepspeed(**content: object) -> Make:
    return lambda folder: (folder / "ds.json").write_text(json.dumps(content))


SPECS = {
    "missing-file": Case(run(spec="gg.yaml"), ["gg.yaml does not exist", "did you mean 'g.yaml'"]),
    "missing-folder": Case(run(spec="specs/g.yaml"), ["specs/g.yaml does not exist", "the folder specs"]),
    "folder-for-a-file": Case(run(spec="."), [". is a folder", "give one file", "g.yaml"]),
    "no-file": Case(["run", "depth=3"], ["no spec file among depth=3", "give one, such as"]),
    "empty": Case(run(spec="bad.yaml"), ["bad.yaml is empty", "a mapping of keys"], spec("# nothing\n")),
    "list": Case(run(spec="bad.yaml"), ["bad.yaml holds a list", "`key: value`"], spec("- depth\n")),
    "not-yaml": Case(run(spec="bad.yaml"), ["bad.yaml, line 2", "give valid YAML"], spec("depth: [1\n")),
    "binary": Case(
        run(spec="bad.yaml"), ["bad.yaml is not YAML", "UTF-8"], lambda f: (f / "bad.yaml").write_bytes(b"\xff\x00\x9c")
    ),
    "key-twice": Case(
        run(spec="bad.yaml"),
        ["bad.yaml, line 2", "'depth' is given twice", "remove one"],
        spec("depth: 1\ndepth: 2\n"),
    ),
    "unknown-key": Case(run("depht=3"), ["depht: unknown key", "did you mean 'depth'", "rename or remove"]),
    "wrong-type": Case(run("depth=three"), ['depth: given "three" (text)', "allowed: an integer"]),
    "too-small": Case(run("depth=0"), ["depth: given 0", "a number above 0"]),
    "infinite": vae("train.optimizer.lr=.inf", says=["train.optimizer.lr=.inf", "not a finite number"]),
    "fraction": Case(
        run("regime={kind: mix, real_fraction: 1.5}"),
        ["regime.real_fraction: given 1.5", "at most 1"],
    ),
    "unknown-kind": Case(run("family=gausian"), ["unknown kind 'gausian'", "did you mean 'gaussian'", "vae"]),
    "unknown-field": Case(
        run("regime={kind: replace, real_fraction: 0.5}"),
        ["kind 'replace' has no such key", "choices: num_samples", "remove it"],
    ),
    "missing-field": Case(run("regime=mix"), ["regime.real_fraction: missing", "a number", "Share of real rows"]),
    "override-form": Case(run("regime.=mix"), ["override 'regime.=mix'", "key.path=value"]),
    "override-empty": Case(run("depth="), ["override 'depth='", "no value", "depth=null"]),
    "override-nowhere": Case(run("regime.size=3"), ['regime is "replace"', "{kind: replace, size: …}"]),
    "seed-and-seeds": Case(run("seed=1", "seeds=[1,2]"), ["both seed and seeds", "keep one"]),
    "seeds-repeated": Case(run("seeds=[1,2,1]"), ["seeds=[1, 2, 1] repeats a seed"]),
    "seeds-none": Case(run("seeds=[]"), ["seeds: given a list of 0", "at least 1 items"]),
    "name": Case(run("name=a/b"), ['name: given "a/b" (text)', "text of the form"]),
    "name-of-the-file": Case(
        run(spec="a b.yaml"),
        ['name: given "a b" (text)', "give name=…"],
        lambda folder: (folder / "g.yaml").rename(folder / "a b.yaml"),
    ),
    "two-runs": Case(
        [*run(), "bad.yaml"],
        ["bad.yaml: its run settings differ from those of g.yaml", "run.KEY=VALUE"],
        spec(VAE.replace("store: store", "store: other")),
    ),
    "store": Case(
        run("run.address=auto", "run.store=store"), ["run.store=store is relative", "run.address=auto", "absolute path"]
    ),
    "keep": Case(run("run.keep=last:0"), ["run.keep: 'last:0' is not a retention policy", "'last:K' with K >= 1"]),
    "metrics-overlap": Case(
        run("evaluate.metrics=[distinct_n, distinct_n]"), ["evaluate", "the same values", "keep one"]
    ),
    "closed-form-with-train": Case(run("train={steps: 5}"), ["'gaussian' is fitted in closed form", "remove train"]),
    "gradients-without-train": Case(run("family=vae"), ["'vae' is trained with gradients", "give train"]),
    "two-budgets": vae("train.epochs=2", says=["train: gives epochs and steps", "exactly one"]),
    "no-budget": vae("train.steps=null", says=["train: gives no budget", "exactly one of epochs, steps"]),
}

DATA = {
    "file-missing": Case(run("source={kind: images, path: nowhere.npz}"), ["path 'nowhere.npz'", "does not exist"]),
    "npz-cut": Case(run("source={kind: images, path: a.npz}"), ["path 'a.npz'", "cut short", "numpy.savez"], cut_npz),
    "images-ragged": Case(
        run("source={kind: images, path: .}"), ["'1.png' is 5x7", "'0.png' is 5x4", "set size"], ragged
    ),
    "image-broken": vae(
        "source={kind: images, path: .}", "regime=replace", says=["5.png' is broken", "replace it"], make=broken_image
    ),
    "source-empty": Case(
        run("source={kind: csv, path: a.csv}"),
        ["'a.csv'", "holds no samples"],
        lambda f: (f / "a.csv").write_text("a\n"),
    ),
    "text-short": Case(
        run("source={kind: text, path: a.txt}"), ["holds 91 tokens", "context=128", "a smaller context"], text(100)
    ),
    "source-too-large": Case(
        run("source={kind: images, path: a.npz, num_samples: 99}"), ["num_samples is 99", "at most 20"], images
    ),
    "regime-too-large": Case(run("regime={kind: replace, num_samples: 41}"), ["num_samples is 41", "at most 40"]),
    "holdout-empty": Case(run("holdout_fraction=0.001"), ["50 rows", "holds out 0", "another fraction"]),
    "fresh-runs-out": Case(
        run("regime={kind: fresh, num_real: 15, num_synthetic: 5}", "depth=3"),
        ["15 new real rows in each of 3 generations", "has 40", "a depth of 2", "Lower the depth"],
    ),
    "single-shot-deep": Case(
        run("regime={kind: single_shot, real_fraction: 0.5}", "depth=3"), ["the depth is 3", "at most 2", "mix"]
    ),
    "tokens-of-images": vae(
        "family=transformer", says=["'transformer' cannot model a payload of kind 'image'", "choose another"]
    ),
    "normal-of-images": Case(run("source=digits"), ["'gaussian' cannot model", "'image'", "vectors"]),
    "vae-of-text": vae("source=pydoc", says=["'vae' cannot model", "'tokens'", "'transformer'"]),
    "top-k-of-a-vae": vae("generate.sampling.top_k=5", says=["sampling.top_k=5", "makes no tokens", "leave top_k out"]),
    "words-of-tokens": Case(
        run(
            "source={kind: text, path: a.txt, tokenizer: {bpe: 300}, context: 16}",
            "family=transformer",
            "train={steps: 5}",
            "evaluate.metrics=[{kind: vocabulary_coverage, unit: word}]",
        ),
        ["vocabulary_coverage.unit is 'word'", "tokenise by bytes"],
        text(4000),
    ),
    "tokens-budget": vae("train={tokens: 99}", says=["train.tokens needs a token payload", "give epochs"]),
    "below-one-batch": vae(
        "train={epochs: 1, batch_size: 128}", says=["64 rows", "less than one batch", "train.batch_size=128", "lower"]
    ),
}

EXECUTION = {
    "store-in-a-file": Case(run("run.store=g.yaml/store"), ["g.yaml/store", "run.store"]),
    "store-unwritable": Case(run("run.store=/proc/collapse"), ["/proc/collapse", "may be written", "run.store"]),
    "store-scheme": Case(run("run.store=ftp://host/store"), ["cannot open the store", "ftp", "run.store"]),
    "many-workers": Case(run("run.workers=4000"), ["4000 CPUs", "this machine has", "lower run.workers"]),
    "no-gpu": Case(run("run.gpus_per_worker=1"), ["1 GPU and this machine has 0", "run.gpus_per_worker"]),
    "workers-and-batch": vae(
        "run.workers=3", "run.cpus_per_worker=0.25", says=["batch_size=16", "3 workers", "multiple of 3, such as 15"]
    ),
    "micro-batch": vae("run.micro_batch_size=5", says=["run.micro_batch_size=5", "16 rows", "a divisor of 16"]),
    "deepspeed-missing": vae("run.deepspeed=ds.json", says=["run.deepspeed=ds.json", "cannot be read"]),
    "deepspeed-broken": vae(
        "run.deepspeed=ds.json", says=["ds.json", "not JSON"], make=lambda f: (f / "ds.json").write_text("{")
    ),
    "deepspeed-contradicts": vae(
        "run.deepspeed=ds.json",
        says=["ds.json: train_batch_size is 32", "make it 16", '"auto"'],
        make=deepspeed(train_batch_size=32),
    ),
    "deepspeed-optimizer": vae(
        "run.deepspeed=ds.json",
        says=["ds.json: 'optimizer'", "train.optimizer", "remove it"],
        make=deepspeed(optimizer={"type": "Adam"}),
    ),
    "fp16-on-cpu": vae("train.precision=fp16", says=["train.precision=fp16", "this CPU", "use bf16 or fp32"]),
    "compiler-missing": vae(
        "run.zero_stage=3",
        "run.deepspeed=ds.json",
        says=["compiler 'c++' is not on the PATH", "NVMe offload", "install g++"],
        make=deepspeed(zero_optimization={"offload_param": {"device": "nvme", "nvme_path": "."}}),
    ),
}


@pytest.mark.parametrize("case", [*SPECS.values(), *DATA.values(), *EXECUTION.values()], ids=SPECS | DATA | EXECUTION)
def test_bad_input(
    case: Case, here: Path, collapse: Command, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    case.make(here)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_fp16_supported", lambda: False)
    if request.node.callspec.id == "compiler-missing":
        monkeypatch.delenv("CXX", raising=False)
        monkeypatch.setenv("PATH", str(here / "nothing"))
        monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(here / "extensions"))
    outcome = collapse(*case.arguments)
    assert outcome.code == 2
    assert outcome.err.startswith("error: ")
    assert "Traceback" not in outcome.out + outcome.err
    assert [words for words in case.says if words not in outcome.err] == [], outcome.err
    assert not collapse.started
    assert not ray_is_running()
    assert [path for path in (here / "store").rglob("*") if path.is_file()] == []


def ray_is_running() -> bool:
    return "ray" in sys.modules and sys.modules["ray"].is_initialized()


def test_there_are_enough_of_them() -> None:
    assert len(SPECS | DATA | EXECUTION) == len(SPECS) + len(DATA) + len(EXECUTION) > 50


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["rnu"], "No such command 'rnu'"),
        (["list", "famlies"], "'families', 'sources', 'metrics', 'regimes'"),
        (["run", "g.yaml", "--depth", "3"], "No such option: --depth"),
    ],
    ids=["command", "choice", "option"],
)
def test_bad_usage(arguments: list[str], says: str, here: Path, collapse: Command) -> None:
    outcome = collapse(*arguments)
    assert outcome.code == 2
    assert says in " ".join(outcome.err.replace("│", " ").split())


@pytest.mark.slow
def test_the_process_ends_with_the_message_on_the_error_stream(here: Path) -> None:
    command = [sys.executable, "-m", "collapse_ray.cli.main", "run", "g.yaml", "depht=3"]
    done = subprocess.run(command, cwd=here, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: g.yaml: 1 problem\n  depht: unknown key; did you mean 'depth'?")


def test_a_second_bad_spec_stops_the_first(here: Path, collapse: Command) -> None:
    (here / "deep.yaml").write_text(
        (here / "g.yaml").read_text().replace("replace", "{kind: replace, num_samples: 99}")
    )
    outcome = collapse("run", "g.yaml", "deep.yaml")
    assert outcome.code == 2
    assert not collapse.started
