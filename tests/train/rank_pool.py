"""Processes that form one gloo group and run what the test gives them."""

import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from collapse_ray.train.group import Group, TorchGroup

P = ParamSpec("P")
R = TypeVar("R")

ANSWER_S = 200.0


class RankPool:
    """`run(f, ...)` calls `f(group, ...)` on every rank and gives the results in rank order."""

    def __init__(self, world_size: int, folder: Path) -> None:
        context = mp.get_context("forkserver")
        context.set_forkserver_preload(["collapse_ray.train.stage"])  # imported once, for all ranks
        self._pipes: list[Connection] = []
        self._processes = []
        for rank in range(world_size):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs, rank, world_size, str(folder / "rendezvous")))
            process.start()
            self._pipes.append(ours)
            self._processes.append(process)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()
            process.join()

    def run(self, function: Callable[Concatenate[Group, P], R], *args: P.args, **kwargs: P.kwargs) -> list[R]:
        for pipe in self._pipes:
            pipe.send((function, args, kwargs))
        answers = []
        for rank, pipe in enumerate(self._pipes):
            assert pipe.poll(ANSWER_S), f"rank {rank} did not answer within {ANSWER_S:g} s"
            value, failure = pipe.recv()
            assert failure is None, f"rank {rank}:\n{failure}"
            answers.append(value)
        return answers


def _serve(pipe: Any, rank: int, world_size: int, rendezvous: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=world_size)
    group = TorchGroup(torch.device("cpu"))
    while True:
        function, args, kwargs = pipe.recv()
        try:
            answer = function(group, *args, **kwargs), None
        except Exception:
            answer = None, traceback.format_exc()
        pipe.send(answer)
