"""What a command says about energy when it has ended."""

from collapse_ray.artifact.store import Store
from collapse_ray.cli.display import Display
from collapse_ray.cli.ledger_tables import is_metered, viewed_table
from collapse_ray.ledger.ancestry import KIND_OF_STAGE
from collapse_ray.lineage.progress import Listener, StageEvent
from collapse_ray.report.frame import frame_table


class Reused:
    """The stages that a command found published, and what computing them had cost."""

    def __init__(self) -> None:
        self._stages: dict[str, str] = {}

    def watching(self, listener: Listener) -> Listener:
        """The listener, which is told all that it would be told."""

        def listen(event: StageEvent) -> None:
            if event.reused and event.artifact is not None:
                self._stages[event.artifact] = event.stage
            listener(event)

        return listen

    def sentence(self, store: Store) -> str | None:
        """Joules that were not spent again; None where nothing was found published."""
        if not self._stages:
            return None
        costs = [store.energy(KIND_OF_STAGE[stage], artifact) for artifact, stage in self._stages.items()]
        known = [cost.energy_j for cost in costs if cost is not None and cost.energy_j is not None]
        missing = len(costs) - len(known)
        saved = f"{sum(known):.4g} J were not spent again" if known else "their energy was not measured"
        unknown = f" (and what {missing} of them had cost, which was not measured)" if known and missing else ""
        return f"{len(costs)} stages were found published: {saved}{unknown}"


def show_energy(display: Display, store: Store, reused: Reused) -> None:
    """Energy per stage with its quality, and what must be said with it."""
    if not is_metered(store):
        display.say("nothing was metered: every stage was found published, or no meter could be started")
        return
    found = viewed_table(store, [], ["kind", "stage"])
    display.show(frame_table(found.table.drop(columns=["counter_j", "integrated_j", "estimated_j"], errors="ignore")))
    for note in found.notes:
        display.say(note)
    sentence = reused.sentence(store)
    if sentence is not None:
        display.say(sentence)
    display.say(f"energy: collapse ledger {store} --by lineage,generation,stage")
