"""Which files of old generations are still kept; records always stay."""

from collections.abc import Mapping
from typing import Any

from collapse_ray.artifact.record import Kind
from collapse_ray.artifact.store import Store
from collapse_ray.lineage.loop import Progress
from collapse_ray.lineage.prepare import Prepared
from collapse_ray.lineage.spec import LineageSpec


def retire_old(
    store: Store,
    keep_last: int | None,
    lineage: LineageSpec,
    prepared: Prepared,
    progress: Progress,
    *,
    first: int = 1,
) -> None:
    """Removes weights and synthetic shards beyond the policy, once no later generation reads them.

    Real data is never removed, nor samples that a later generation of this lineage will train on. An artifact that
    another lineage shares is removed as well; that one computes it again when it needs it.

    Args:
        store: holds the artifacts.
        keep_last: generations whose files stay; None for all.
        lineage: its regime tells what the next generation reads.
        prepared: the real data.
        progress: what was published so far; its last generation's weights stay until it was sampled.
        first: the first generation that is looked at.
    """
    if keep_last is None:
        return
    newest = progress.generation
    finished = progress.verdict != "running"
    needed = set() if finished else _read_later(lineage, prepared, newest)
    for generation in range(first, newest + 1 - keep_last):
        if generation == newest and not finished:
            continue
        model = progress.models[generation - 1]
        if store.find("model", model.fingerprint) is not None:
            store.retire("model", model.fingerprint)
        samples = progress.samples.get(generation)
        if samples is not None and generation not in needed and store.find("samples", samples.fingerprint):
            store.retire("samples", samples.fingerprint)


def retire_first(store: Store, keep_last: int | None, index: Mapping[str, Any]) -> None:
    """Removes weights and shards of generation 1 beyond the policy, once no lineage needs them that shares them.

    Args:
        store: holds the artifacts.
        keep_last: generations whose files stay; None for all.
        index: of a lineage that has ended.
    """
    generations = index["generations"]
    if keep_last is None or len(generations) <= keep_last:
        return
    kinds: tuple[Kind, ...] = ("model", "samples")
    for kind in kinds:
        of = generations[0][kind]
        if of is not None and store.find(kind, of) is not None:
            store.retire(kind, of)


def _read_later(lineage: LineageSpec, prepared: Prepared, newest: int) -> set[int]:
    """Generations whose samples a generation after `newest` trains on."""
    num_real = prepared.train.num_samples
    plans = (
        lineage.regime.plan(seed=lineage.seed, generation=generation, num_real=num_real)
        for generation in range(newest + 1, lineage.depth + 1)
    )
    return {part.generation for plan in plans for part in plan.parts}
