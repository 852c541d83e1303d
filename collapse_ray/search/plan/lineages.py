"""The lineages that spec files and sweeps ask for, ready to be followed."""

from collections.abc import Iterator
from dataclasses import dataclass

from collapse_ray.lineage.launch import check_execution
from collapse_ray.lineage.loop import Decide, go_on
from collapse_ray.lineage.prepare import Prepared, name_real, open_real
from collapse_ray.lineage.spec import Experiment, LineageSpec
from collapse_ray.search.check import check_sweep
from collapse_ray.search.methods import optuna
from collapse_ray.search.report import Judge
from collapse_ray.search.sources import Sources, split_key
from collapse_ray.search.spec import Sweep
from collapse_ray.search.trial import Trial


@dataclass(frozen=True)
class Followed:
    """A lineage with its real data and its stop rule."""

    lineage: LineageSpec
    prepared: Prepared
    decide: Decide = go_on


class RealNames:
    """Real data as it is found under; the source that was opened last stays open."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._prepared: dict[str, Prepared] = {}

    def __call__(self, lineage: LineageSpec) -> Prepared:
        """Checks the lineage on its data where that was not opened before.

        Raises:
            InvalidInput: the lineage cannot run on it.
        """
        key = split_key(lineage)
        if key not in self._prepared:
            self._prepared[key] = name_real(lineage, self._sources.open(lineage))
            self._sources.keep(1)
        return self._prepared[key]


def of_experiment(experiment: Experiment) -> list[Followed]:
    """The lineages of a spec file.

    Raises:
        InvalidInput: one of them cannot run.
    """
    followed = []
    for lineage in experiment.lineages:
        check_execution(lineage, experiment.run)
        followed.append(Followed(lineage, name_real(lineage, open_real(lineage))))
    return followed


def of_sweep(sweep: Sweep) -> list[Followed] | None:
    """The lineages of a sweep; None where results decide on them.

    Raises:
        InvalidInput: the sweep cannot run.
    """
    sources = Sources()
    payload = check_sweep(sweep, sources)
    if sweep.spec.search.points(sweep.axes) is None:
        return None
    judge = Judge(sweep.spec.profile, sweep.spec.stop, payload)
    return list(_followed(sweep, sweep.trials()[: sweep.spec.budget.trials], judge, sources))


def probes_of(sweep: Sweep) -> list[Followed]:
    """Lineages at the corners of a sweep whose points are not known."""
    trials = [Trial(point, sweep.spec.seeds[0]) for point in sweep.probes]
    return list(_followed(sweep, trials, None, Sources()))


def _followed(sweep: Sweep, trials: list[Trial], judge: Judge | None, sources: Sources) -> Iterator[Followed]:
    names = RealNames(sources)
    for trial in trials:
        lineage = sweep.lineage(trial.point, trial.seed)
        prepared = names(lineage)
        yield (
            Followed(lineage, prepared)
            if judge is None
            else Followed(lineage, prepared, lambda progress, seed=trial.seed: judge.decide(seed, progress))
        )


def most_lineages(sweep: Sweep) -> int | None:
    """How many lineages a search that chooses as it goes runs at most; None where nothing bounds it."""
    search, budget = sweep.spec.search, sweep.spec.budget
    # Each lineage has a generation at least.
    bounds = [bound for bound in (budget.trials, budget.generations) if bound is not None]
    if isinstance(search, optuna.Spec):
        bounds.append(search.num_points * len(sweep.spec.seeds))
    return min(bounds, default=None)
