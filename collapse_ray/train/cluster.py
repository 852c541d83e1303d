"""The Ray cluster of a command: one that runs, or one started here, checked to hold the workers."""

import logging
import math
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import ray
from ray.exceptions import AuthenticationError

from collapse_ray.config.errors import InvalidInput
from collapse_ray.train.execution import RunConfig
from collapse_ray.train.machine import check_machine, check_resource

KNOCK_S = 10.0

# Chatter about what works as designed: every line would be repeated for each worker and generation.
QUIET = {
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DEDUP_LOGS": "1",
    "TQDM_DISABLE": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "DEEPSPEED_LOG_LEVEL": "error",
}


@contextmanager
def cluster(execution: RunConfig, num_cpus: float | None = None, *, dashboard: bool = False) -> Iterator[None]:
    """Connects to `run.address`, or starts Ray on this machine and ends it afterwards.

    Args:
        execution: what one worker group takes.
        num_cpus: that Ray is started with on this machine; what one group and its data take where absent.
        dashboard: start it, too: Ray Train asks its State API whose placement groups are left over.

    Raises:
        InvalidInput: the machine or the cluster has fewer CPUs or GPUs than the workers ask for.
    """
    quiet()
    if ray.is_initialized():
        check_cluster(execution)
        yield
        return
    if execution.address is None:
        check_machine(execution)
    with _sigterm_kept():
        _start(execution, num_cpus, dashboard=dashboard)
    try:
        check_cluster(execution)
        yield
    finally:
        ray.shutdown()


def _start(execution: RunConfig, num_cpus: float | None, *, dashboard: bool) -> None:
    if execution.address is None:
        # Ray warns of four times as many processes as it starts at once, which is one for each CPU by default: small
        # machines would be warned of every lineage with workers.
        os.environ.setdefault("RAY_worker_maximum_startup_concurrency", str(max(8, os.cpu_count() or 1)))
        ray.init(
            address="local",  # not one that `ray start` left on this machine
            num_cpus=math.ceil(num_cpus or execution.workers * execution.cpus_per_worker + execution.data_cpus),
            include_dashboard=dashboard,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    else:
        connect(execution.address)


def quiet() -> None:
    """Silences what Ray and its libraries say of what works; to be called before Ray is started or connected to."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    logging.getLogger("ray").setLevel(logging.ERROR)


def connect(address: str) -> None:
    """Connects this process to a cluster that runs.

    Raises:
        InvalidInput: nothing answers at the address, it refuses the token, or it is of another version.
    """
    try:
        _knock(address)
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    # Another version of Ray or Python is a RuntimeError.
    except (OSError, RuntimeError, ValueError, AuthenticationError) as error:
        raise InvalidInput(
            f"cannot connect to the Ray cluster at run.address={address}: {error}; start one, correct the address or "
            "the token, or use this machine alone with run.address=null"
        ) from error


def _knock(address: str) -> None:
    """Ray would wait for ever where nothing listens.

    Raises:
        OSError: nothing does.
    """
    host, _, port = address.rpartition("/")[2].rpartition(":")
    if port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=KNOCK_S).close()


@contextmanager
def _sigterm_kept() -> Iterator[None]:
    """`ray.init` makes SIGTERM an exit; whoever wants another end of a job has said so before."""
    before = signal.getsignal(signal.SIGTERM)
    chosen = callable(before) and threading.current_thread() is threading.main_thread()
    try:
        yield
    except SystemExit as ended:
        if chosen and ended.code == signal.SIGTERM:
            raise KeyboardInterrupt from ended
        raise
    finally:
        if chosen:
            signal.signal(signal.SIGTERM, before)


def check_cluster(execution: RunConfig) -> None:
    """Refuses what the connected cluster cannot hold, which would otherwise wait for ever.

    Raises:
        InvalidInput: says what was asked and what there is.
    """
    total = ray.cluster_resources()
    cpus = execution.workers * execution.cpus_per_worker + execution.data_cpus
    check_resource("CPU", cpus, total.get("CPU", 0), "run.cpus_per_worker or run.data_cpus", "the cluster")
    check_resource("GPU", execution.num_gpus, total.get("GPU", 0), "run.gpus_per_worker", "the cluster")
