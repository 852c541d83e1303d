"""The resident worker group: one Ray Train run that stays for whole lineages, and its restarts."""

import json
import logging
import os
import signal
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import ray.train
import torch
from ray.train import Checkpoint, FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer, get_device

from collapse_ray.artifact.store import Store
from collapse_ray.config.errors import RunFailed
from collapse_ray.train.board import Board
from collapse_ray.train.execution import RunConfig as Execution
from collapse_ray.train.group import Group, SoloGroup, TorchGroup

log = logging.getLogger(__name__)

PACKAGE = __name__.partition(".")[0]

Post = Callable[[Any], None]
Body = Callable[[Group, Post], None]
"""What every rank runs: (group, post) where posts reach the driver."""

POLL_S = 0.3
REPORT_S = 0.25


class GroupFailed(RunFailed):
    """The worker group failed more often than `run.retries` allows; what was published stays."""


def run_resident(
    body: Body, execution: Execution, name: str, on_post: Post, final: tuple[type[Exception], ...]
) -> None:
    """Runs `body` on a resident group until it ends well.

    Whatever kills a worker ends the group; a new one enters the body from its top, which finds what was published.

    Args:
        body: picklable; called alike on every rank.
        execution: workers, devices, retries.
        name: shown by Ray.
        on_post: receives rank 0's posts in the driver.
        final: errors that would only come again, raised to the caller at once.

    Raises:
        GroupFailed: retries are used up; carries the last failure as its cause.
    """
    if execution.workers == 0:
        _run_local(body, execution, name, on_post)
        return
    # A report waits until the controller has fetched the one before, which it does when it looks at its workers.
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", str(REPORT_S))
    # In a trial of Ray Tune, what is started without a strategy has to find a place in the trial's placement group.
    board = Board.options(name=f"collapse-board-{uuid.uuid4().hex[:8]}", scheduling_strategy="DEFAULT").remote()
    for attempt in range(execution.retries + 1):
        trainer = _trainer(body, board, execution, f"{name}-{attempt}")
        with _drained(board, on_post), _interruptible():
            try:
                trainer.fit()
                return
            except ray.train.TrainingFailedError as failure:
                causes = list(getattr(failure, "worker_failures", {}).values())
                for cause in causes:
                    if isinstance(cause, final):
                        raise cause from failure
                if attempt == execution.retries:
                    raise GroupFailed(f"the worker group failed {attempt + 1} times; last: {failure}") from failure
                log.warning("a worker failed (%s); starting a new group, which resumes", _first_line(failure))


def _trainer(body: Body, board: Any, execution: Execution, name: str) -> TorchTrainer:
    resources = {"CPU": execution.cpus_per_worker}
    if execution.gpus_per_worker:
        resources["GPU"] = execution.gpus_per_worker
    return TorchTrainer(
        _on_rank,
        train_loop_config={"body": body, "board": board, "execution": execution},
        torch_config=TorchConfig(backend="nccl" if execution.gpus_per_worker else "gloo"),
        scaling_config=ScalingConfig(
            num_workers=execution.workers,
            use_gpu=bool(execution.gpus_per_worker),
            resources_per_worker=resources,
        ),
        run_config=RunConfig(
            name=name,
            storage_path=_bookkeeping(execution),
            failure_config=FailureConfig(max_failures=0, controller_failure_limit=execution.retries),
            worker_runtime_env={"env_vars": worker_environment(execution)},
        ),
    )


def worker_environment(execution: Execution) -> dict[str, str]:
    """Variables that must be set before DeepSpeed is imported."""
    return {} if execution.gpus_per_worker else {"DS_ACCELERATOR": "cpu"}


def _run_local(body: Body, execution: Execution, name: str, on_post: Post) -> None:
    device = prepare_process(execution)
    trainer = TorchTrainer(
        lambda: body(_LocalGroup(device), on_post),
        scaling_config=ScalingConfig(num_workers=0),
        run_config=RunConfig(name=name, storage_path=_bookkeeping(execution)),
    )
    trainer.fit()


def prepare_process(execution: Execution) -> torch.device:
    """Makes this process one that trains alone; to be called before DeepSpeed is imported.

    Returns:
        The device that it trains on.
    """
    os.environ.update(worker_environment(execution))
    _use_own_cpus(execution)
    return torch.device("cuda" if execution.gpus_per_worker else "cpu")


def _use_own_cpus(execution: Execution) -> None:
    """As many threads as CPUs: more would wait for each other, and another number may round sums differently."""
    torch.set_num_threads(max(1, int(execution.cpus_per_worker)))


def _on_rank(config: dict[str, Any]) -> None:
    board = config["board"]
    _use_own_cpus(config["execution"])
    group = _ResidentGroup(get_device())  # type: ignore[arg-type]  # one device per worker
    if group.rank == 0:
        logging.getLogger(PACKAGE).addHandler(_Posting(board.post.remote))
    config["body"](group, board.post.remote if group.rank == 0 else lambda _: None)


@dataclass(frozen=True)
class _Logged:
    """A message that rank 0 logged, on its way to the driver: they share no terminal."""

    logger: str
    level: int
    message: str


class _Posting(logging.Handler):
    def __init__(self, post: Post) -> None:
        super().__init__()
        self._post = post

    def emit(self, record: logging.LogRecord) -> None:
        self._post(_Logged(record.name, record.levelno, record.getMessage()))


class _Reporting(Group):
    def report(self, metrics: dict[str, Any]) -> None:
        """One report for each generation, with a pointer as its checkpoint: Ray drops metrics without one.

        The records in the store are the truth; nothing is ever read back from here.
        """
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "pointer.json").write_text(json.dumps(metrics))
            # A report of a group that was restarted must not merge with one of the group before.
            unique = f"generation-{metrics['generation']}-{uuid.uuid4().hex[:8]}"
            ray.train.report(metrics, checkpoint=Checkpoint(folder), checkpoint_dir_name=self.broadcast(unique))


class _ResidentGroup(_Reporting, TorchGroup):
    """Ranks of a Ray Train worker group."""


class _LocalGroup(_Reporting, SoloGroup):
    """Ray Train's local mode."""


@contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C is a KeyboardInterrupt, though Ray's own handler, which stays installed, ends the process."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as ended:
        raise KeyboardInterrupt from ended
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, handler)


@contextmanager
def _drained(board: Any, on_post: Post) -> Iterator[None]:
    """Hands posts to `on_post` from a thread while the trainer blocks."""
    ended = threading.Event()

    def drain() -> None:
        while True:
            last = ended.wait(POLL_S)
            for value in ray.get(board.drain.remote()):
                if isinstance(value, _Logged):
                    logging.getLogger(value.logger).log(value.level, value.message)
                else:
                    on_post(value)
            if last:
                return

    thread = threading.Thread(target=drain, name="collapse-board")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _bookkeeping(execution: Execution) -> str:
    """Ray Train's own folder, which every node must reach; nothing in it is read back."""
    return f"{Store(execution.store).uri}/ray-train"


def _first_line(failure: Exception) -> str:
    return str(failure).strip().splitlines()[0]
