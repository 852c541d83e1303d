"""Real data of a sweep's lineages: opened and published in the driver, once for each source."""

from collapse_ray.artifact.store import Store
from collapse_ray.config.errors import InvalidInput
from collapse_ray.energy.marks import Marker
from collapse_ray.lineage import naming
from collapse_ray.lineage.launch import Ready, check_execution
from collapse_ray.lineage.prepare import Prepared, publish_real
from collapse_ray.lineage.spec import LineageSpec
from collapse_ray.search.given import Given
from collapse_ray.search.sources import Sources, split_key
from collapse_ray.search.spec import Sweep
from collapse_ray.search.trial import Trial

MAX_OPEN = 8
"""Sources that stay open: lineages of one seed follow each other only where the search says so."""


class Preparer:
    """Makes trials runnable, as the search proposes them."""

    def __init__(self, sweep: Sweep, store: Store, marker: Marker, sources: Sources) -> None:
        self._sweep, self._store, self._marker, self._sources = sweep, store, marker, sources
        self._published: dict[str, Prepared] = {}

    def __call__(self, trial: Trial) -> Given:
        """Checks a lineage on its real data, and publishes that where nobody did.

        Raises:
            InvalidInput: the lineage cannot run.
        """
        sweep = self._sweep
        lineage = sweep.lineage(trial.point, trial.seed)
        try:
            check_execution(lineage, sweep.run)
            prepared = self._prepared(lineage)
        except InvalidInput as error:
            raise InvalidInput(
                f"{sweep.where}, lineage {sweep.arm_label(trial.point)} seed {trial.seed}: {error}"
            ) from error
        ready = Ready(sweep.lineage_name(trial.point), lineage, prepared).absolute()
        return Given(ready, ready.id, trunk_of(lineage, prepared))

    def _prepared(self, lineage: LineageSpec) -> Prepared:
        opened = self._sources.open(lineage)
        self._sources.keep(MAX_OPEN)
        key = split_key(lineage)
        if key not in self._published:
            self._published[key] = publish_real(lineage, opened, self._store, self._marker)
        return self._published[key]


def trunk_of(lineage: LineageSpec, prepared: Prepared) -> str:
    """Fingerprint of generation 1, which lineages share whose plans for it are alike."""
    plan = lineage.regime.plan(seed=lineage.seed, generation=1, num_real=prepared.train.num_samples)
    return naming.trained(lineage, 1, plan, {0: prepared.train.fingerprint}, None).fingerprint
