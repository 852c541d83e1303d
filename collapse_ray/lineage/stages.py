"""The stages of a lineage as artifacts, run by all ranks together."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import torch

from collapse_ray.artifact.fingerprint import fingerprint
from collapse_ray.artifact.record import FileEntry, Record
from collapse_ray.artifact.store import Attempt, Store
from collapse_ray.config.noise import torch_seed
from collapse_ray.data.order import Order
from collapse_ray.data.reader import Batch, Pool
from collapse_ray.data.regime import PoolPlan
from collapse_ray.data.sample_set import SampleSet
from collapse_ray.data.shards import shard_layout
from collapse_ray.energy.marks import AccountKind, Marker, Work
from collapse_ray.evaluate.stage import evaluate_share
from collapse_ray.generate.stage import sample_rows, write_samples
from collapse_ray.lineage import naming
from collapse_ray.lineage.index import lineage_fingerprint, lineage_id, write_index
from collapse_ray.lineage.loop import Progress
from collapse_ray.lineage.prepare import Prepared
from collapse_ray.lineage.preview import PREVIEW, preview_shard
from collapse_ray.lineage.progress import Listener, Pace, StageEvent
from collapse_ray.lineage.publisher import NO_CLAIMS, Claims, Publisher
from collapse_ray.lineage.retention import retire_old
from collapse_ray.lineage.spec import LineageSpec
from collapse_ray.model.family import ClosedForm, Generator, load_generator
from collapse_ray.train.checkpoints import StageCheckpoints
from collapse_ray.train.deepspeed_config import deepspeed_config
from collapse_ray.train.execution import RunConfig
from collapse_ray.train.group import Group
from collapse_ray.train.stage import Trained, Window, fit_closed_form, train_with_gradients

OpenStream = Callable[[Store, Pool, Order, int, int, int], Iterable[Batch]]
"""(store, pool, order, rank, world_size, first_step) -> this rank's batches: Ray Data or its plain twin."""


class PublishedStages:
    """One lineage's stages on one rank of a group; every method is called by all ranks alike."""

    def __init__(
        self,
        *,
        name: str,
        lineage: LineageSpec,
        prepared: Prepared,
        run: RunConfig,
        store: Store,
        group: Group,
        open_stream: OpenStream,
        listener: Listener,
        marker: Marker,
        claims: Claims = NO_CLAIMS,
        shares_first: bool = False,
    ) -> None:
        """Stages of a lineage.

        Args:
            name: of the lineage.
            lineage: what to compute.
            prepared: its real data.
            run: retention, memory savers, checkpoints.
            store: of the artifacts.
            group: the ranks.
            open_stream: Ray Data or its plain twin.
            listener: told what becomes of stages.
            marker: told what is computed, when.
            claims: where other processes compute in the same store.
            shares_first: generation 1 is that of other lineages, too, and is kept until all have ended.
        """
        self._name = name
        self._lineage = lineage
        self._prepared = prepared
        self._run = run
        self._store = store
        self._group = group
        self._open_stream = open_stream
        self._listener = listener
        self._marker = marker
        self._first_retired = 2 if shares_first else 1
        self._id = lineage_id(name, lineage_fingerprint(lineage, prepared))
        self._publisher = Publisher(store, group, self._tell, self._mark, claims)

    # The three stages ------------------------------------------------------------------------

    def train(self, generation: int, plan: PoolPlan, samples: dict[int, SampleSet], previous: Record | None) -> Record:
        """The model of a generation, trained on exactly the rows of the plan."""
        of = {g: s.fingerprint for g, s in samples.items()}
        before = None if previous is None else previous.fingerprint
        name = naming.trained(self._lineage, generation, plan, of, before)
        start = previous if "previous" in name.parents else None
        return self._publisher.record(name, partial(self._train, generation, plan, samples, start))

    def evaluate(self, generation: int, model: Record) -> Record:
        """The metrics of a model on held-out real data."""
        name = naming.evaluated(self._lineage, generation, model.fingerprint, self._prepared.holdout.fingerprint)
        return self._publisher.record(name, partial(self._evaluate, generation, model))

    def generate(self, generation: int, model: Record, num_samples: int) -> SampleSet:
        """The samples that later generations train on."""
        name = naming.generated(self._lineage, generation, model.fingerprint, num_samples)
        return SampleSet.of(self._publisher.record(name, partial(self._generate, generation, model, num_samples)))

    def finish_generation(self, progress: Progress) -> None:
        """Writes the index, drops what the retention policy no longer keeps, and reports the generation."""
        if self._group.rank == 0:
            write_index(self._store, self._name, self._lineage, self._prepared, progress)
            keep_last, first = self._run.keep_last, self._first_retired
            retire_old(self._store, keep_last, self._lineage, self._prepared, progress, first=first)
        metrics = progress.evaluations[-1].metrics if progress.evaluations else {}
        self._group.report({"generation": progress.generation, "verdict": progress.verdict, **metrics})

    # What each stage computes ------------------------------------------------------------------

    def _train(
        self, generation: int, plan: PoolPlan, samples: dict[int, SampleSet], start: Record | None, attempt: Attempt
    ) -> dict[str, Any]:
        lineage = self._lineage
        for part in plan.parts:
            if part.origin == "synthetic":
                self._publisher.with_files("samples", part.generation)
        generator = self._new_generator(generation, start)
        if isinstance(generator, ClosedForm):
            order = Order.of(plan, seed=lineage.seed, generation=generation, batch_size=plan.num_rows, num_steps=1)
            stream = self._stream(plan, samples, order, rank=0, world_size=1)
            trained = fit_closed_form(generator, plan, stream, self._group)
            self._tell(generation, "train", pace=Pace.of(self._prepared.payload, plan.num_rows))
        else:
            trained = self._train_with_gradients(generator, generation, plan, samples, attempt)
        realised = {
            **trained.realised,
            "num_rows": plan.num_rows,
            "asked_real_fraction": plan.asked_real_fraction,
            "realised_real_fraction": plan.realised_real_fraction,
        }
        files = self._model_files(trained, attempt) if self._group.rank == 0 else []
        outcome = "diverged" if trained.diverged else "complete"
        return {"files": files, "realised": realised, "outcome": outcome, "metrics": {"train_loss": trained.train_loss}}

    def _train_with_gradients(
        self,
        generator: Generator,
        generation: int,
        plan: PoolPlan,
        samples: dict[int, SampleSet],
        attempt: Attempt,
    ) -> Trained:
        train, run, group, payload = self._lineage.train, self._run, self._group, self._prepared.payload
        assert train is not None
        order = Order.of(
            plan,
            seed=self._lineage.seed,
            generation=generation,
            batch_size=train.batch_size,
            num_steps=train.num_steps(plan.num_rows, payload.size if payload.kind == "tokens" else None),
            window=train.shuffle_window,
        )
        stream = self._stream(plan, samples, order, rank=group.rank, world_size=group.world_size)
        # The form of a checkpoint's files, and how they continue, depend on all that DeepSpeed is told.
        configuration = fingerprint(deepspeed_config(train, run, group.world_size))
        execution_key = f"w{group.world_size}-{configuration[:8]}"
        saving = partial(self._mark, generation, "checkpoint", attempt.fingerprint, kind="overhead")
        checkpoints = StageCheckpoints(self._store, attempt.fingerprint, execution_key, group, saving)

        def on_step(window: Window) -> None:
            pace = Pace.of(payload, window.num_steps * train.batch_size, window.duration_s, window.data_wait_s)
            self._tell(generation, "train", done=window.done, total=order.num_steps, loss=window.loss, pace=pace)

        return train_with_gradients(
            generator,
            train,
            run,
            plan,
            order,
            stream,
            group=group,
            checkpoints=checkpoints,
            on_step=on_step,
        )

    def _evaluate(self, generation: int, model: Record, attempt: Attempt) -> dict[str, Any]:
        lineage, group, generator = self._lineage, self._group, self._load(generation)
        sample = partial(
            sample_rows,
            generator,
            lineage.generate,
            seed=lineage.seed,
            generation=generation,
            stage="evaluate",
            device=group.device,
        )
        share = evaluate_share(
            generator,
            lineage.evaluate,
            self._prepared.holdout,
            sample,
            lineage.generate.block_size,
            self._store,
            seed=lineage.seed,
            generation=generation,
            rank=group.rank,
            world_size=group.world_size,
            device=group.device,
        )
        whole, *others = group.gather(share)
        for other in others:
            whole.merge(other)
        self._tell(generation, "evaluate", pace=Pace.of(self._prepared.payload, self._prepared.holdout.num_samples))
        realised = {"world_size": group.world_size, "num_holdout": self._prepared.holdout.num_samples}
        files, num_samples = [], lineage.evaluate.num_samples
        if group.rank == 0 and num_samples > 0:
            shard = preview_shard(self._prepared.payload, generation, model.fingerprint, num_samples, sample)
            files = [self._store.write(attempt, PREVIEW, shard)]
        return {"files": files, "realised": realised, "metrics": whole.compute()}

    def _generate(self, generation: int, model: Record, num_samples: int, attempt: Attempt) -> dict[str, Any]:
        lineage, group = self._lineage, self._group
        layout = shard_layout(num_samples, lineage.generate.block_size)
        samples = SampleSet(attempt.fingerprint, layout, self._prepared.payload)
        shards = range(group.rank, layout.num_shards, group.world_size)
        share = sum(stop - start for start, stop in map(layout.bounds, shards))

        def on_samples(done: int, new: int) -> None:
            pace = Pace.of(samples.payload, new * num_samples / share)  # the other ranks are about as fast
            self._tell(generation, "generate", done=done, total=share, unit="samples", pace=pace)

        files = write_samples(
            self._load(generation),
            lineage.generate,
            samples,
            self._store,
            attempt,
            seed=lineage.seed,
            generation=generation,
            producer=model.fingerprint,
            rank=group.rank,
            world_size=group.world_size,
            device=group.device,
            on_samples=on_samples,
        )
        return {"files": list(files), "realised": {**samples.realised(), "world_size": group.world_size}}

    def _tell(self, generation: int, stage: str, **what: Any) -> None:
        self._listener(StageEvent(self._name, self._id, self._lineage.seed, generation, stage, **what))

    def _mark(
        self, generation: int, stage: str, artifact: str, kind: AccountKind = "stage"
    ) -> AbstractContextManager[None]:
        return self._marker.working(Work(kind, lineage=self._id, generation=generation, stage=stage, artifact=artifact))

    # Parts -----------------------------------------------------------------------------------

    def _stream(
        self, plan: PoolPlan, samples: dict[int, SampleSet], order: Order, *, rank: int, world_size: int
    ) -> Callable[[int], Iterable[Batch]]:
        used = {part.generation: samples[part.generation] for part in plan.parts}
        pool = Pool(
            plan,
            artifacts={generation: s.fingerprint for generation, s in used.items()},
            layouts={generation: s.layout for generation, s in used.items()},
            payload=self._prepared.payload,
        )
        return lambda first_step: self._open_stream(self._store, pool, order, rank, world_size, first_step)

    def _new_generator(self, generation: int, start: Record | None) -> Generator:
        if start is not None:
            return self._load(generation - 1)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(torch_seed(self._lineage.seed, generation, "init"))
            return self._lineage.family.build(self._prepared.payload)

    def _load(self, generation: int) -> Generator:
        model = self._publisher.with_files("model", generation)
        files = {entry.name: self._store.read("model", model.fingerprint, entry.name) for entry in model.files}
        return load_generator(self._lineage.family, self._prepared.payload, files).to(self._group.device)

    def _model_files(self, trained: Trained, attempt: Attempt) -> list[FileEntry]:
        if trained.weights is None:
            return []
        with torch.random.fork_rng(devices=[]):
            plain = self._lineage.family.build(self._prepared.payload)
        plain.load_state_dict(trained.weights, strict=False)
        return [self._store.write(attempt, name, content) for name, content in sorted(plain.to_files().items())]
