"""One trial of Ray Tune is one lineage, one step of it one generation. A Ray seam."""

from collections.abc import Iterator
from typing import Any, ClassVar

from ray.tune import PlacementGroupFactory, Trainable

from collapse_ray.artifact.store import Store
from collapse_ray.data.reader import plain_stream
from collapse_ray.lineage.gauges import LineageGauges
from collapse_ray.lineage.launch import FINAL
from collapse_ray.lineage.progress import StageEvent
from collapse_ray.search.given import Common, Given, reports
from collapse_ray.search.reaper import trial_bundle
from collapse_ray.search.report import Report, failure
from collapse_ray.search.resident import resident_reports
from collapse_ray.train.group import SoloGroup
from collapse_ray.train.worker import GroupFailed, prepare_process


class LineageTrial(Trainable):
    """Goes on from what is published, whenever it is started: it has no checkpoint of its own.

    Its process is used for one lineage after the other where no worker group is in it.
    """

    common: ClassVar[Common]

    @classmethod
    def default_resource_request(cls, config: dict[str, Any]) -> PlacementGroupFactory:
        """What one lineage holds; a worker group holds its own."""
        run = cls.common.run
        alone = {"CPU": run.cpus_per_worker, "GPU": run.gpus_per_worker}
        return PlacementGroupFactory([trial_bundle() if run.workers else alone])

    def setup(self, config: dict[str, Any]) -> None:
        self._device = prepare_process(self.common.run)
        self._gauges = LineageGauges(Store(self.common.run.store))
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.cleanup()
        self._begin(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """One generation; an error that would come again ends the lineage, any other one the process."""
        try:
            report = next(self._reports)
        except (*FINAL, GroupFailed) as error:
            report = failure(self._generation, error)
        self._generation = report.generation
        return {"key": self._key, **report.to_result()}

    def cleanup(self) -> None:
        self._reports.close()  # type: ignore[attr-defined]  # a generator

    def _begin(self, config: dict[str, Any]) -> None:
        self._key: str = config["key"]
        self._generation = 0
        self._reports = self._report(config["given"])
        self.config = {name: value for name, value in config.items() if name != "given"}  # goes into every result

    def _report(self, given: Given) -> Iterator[Report]:
        if self.common.run.workers:
            return resident_reports(given, self.common, self._note)
        if given.ready.lineage.train is None:
            stream = plain_stream  # reads in a millisecond, for which Ray Data would take a second
        else:
            from collapse_ray.data.stream import ray_stream as stream
        return reports(given, self.common, SoloGroup(self._device), stream, self._note)

    def _note(self, event: StageEvent) -> None:
        self._gauges(event)
        if event.artifact is not None:
            self.common.board.post.remote((self._key, event.generation, event.stage, event.reused))


def lineage_trial(common: Common) -> type[LineageTrial]:
    """The trainable of a sweep. Its name is part of what Tune saves, and is that of every sweep."""
    return type("LineageTrial", (LineageTrial,), {"common": common})
