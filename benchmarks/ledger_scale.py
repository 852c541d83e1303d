"""One ledger actor for a large cluster: its CPU share and memory, bytes of its journal per day, seconds of a query.

python benchmarks/ledger_scale.py [--gpus 10000] [--seconds 120] [--senders 2]

Nodes of 8 GPUs, each with a meter that sends a batch a second, as tuples made beforehand, so that the ledger is what is
measured. A GPU works for one lineage and changes its account every `ACCOUNT_S`: train, generate, evaluate, the next
generation. Bytes per day are given as segments are written, and after an hour of the same work was merged.
"""

import argparse
import os
import random
import tempfile
import time
import uuid
from itertools import pairwise
from pathlib import Path
from typing import Any

import ray

from collapse_ray.artifact.store import Store
from collapse_ray.ledger.actor import FLUSH_S, LedgerActor
from collapse_ray.ledger.book import Book
from collapse_ray.ledger.check import check
from collapse_ray.ledger.query import read_ledger
from collapse_ray.ledger.rows import Row, Rows, pack_rows

GPUS_PER_NODE = 8
ACCOUNT_S = 400.0
HOUR_S, DAY_S = 3600.0, 86400.0
STAGES = ("train", "generate", "evaluate")
NUM_LINEAGES = 100


class SimulatedNode:
    """The meter of one node: 300 to 700 W for each GPU."""

    def __init__(self, number: int) -> None:
        self._random = random.Random(number)
        self._node = f"node-{number}-{uuid.uuid4().hex[:8]}"
        self._meter = f"{self._node}-{uuid.uuid4().hex[:12]}"
        self._lineage = f"lineage-{number % NUM_LINEAGES:08x}"
        self._gpus = [f"GPU-{uuid.uuid4()}" for _ in range(GPUS_PER_NODE)]
        self._boot_id = str(uuid.uuid4())
        self._settled_uj = dict.fromkeys(self._gpus, 0)
        self._number = 0

    def batch(self, begin_unix_s: float, duration_s: float = 1.0) -> Rows:
        """What was used since the batch before."""
        self._number += 1
        generation, stage = divmod(int(begin_unix_s / ACCOUNT_S), len(STAGES))
        end_unix_s = begin_unix_s + duration_s
        artifact = uuid.uuid5(uuid.NAMESPACE_OID, f"{self._lineage}/{generation}/{stage}").hex
        entries, totals, marks = [], [], []
        for gpu in self._gpus:
            energy_uj = int(self._random.uniform(3e8, 7e8) * duration_s)
            self._settled_uj[gpu] += energy_uj
            account: Row = ("stage", self._node, gpu, "sweep", self._lineage, generation, STAGES[stage], None, artifact)
            entries.append((account, "counter", "exclusive", energy_uj, duration_s, begin_unix_s, end_unix_s))
            settled_uj = self._settled_uj[gpu]
            device = (gpu, "NVIDIA H100 80GB HBM3", "gpu", self._node)
            totals.append((*device, settled_uj, settled_uj + 10**15, self._boot_id, end_unix_s))
            marks.append((account, begin_unix_s // ACCOUNT_S * ACCOUNT_S, float("inf"), None, "4711@1700000000.00"))
        return Rows(self._meter, self._node, self._number, tuple(entries), tuple(totals), tuple(marks), ())


@ray.remote(num_cpus=0)
class Sender:
    """The meters of many nodes, spread over every second."""

    def __init__(self, ledger: Any, nodes: range) -> None:
        self._ledger = ledger
        self._nodes = [SimulatedNode(number) for number in nodes]

    def send(self, seconds: int) -> float:
        """Sends one batch per node and second; returns by how many seconds the slowest second was late."""
        begin_s = time.monotonic()
        late_s = 0.0
        for second in range(seconds):
            answers = []
            for index, node in enumerate(self._nodes):
                due_s = begin_s + second + index / len(self._nodes)
                if due_s - time.monotonic() > 0.01:
                    time.sleep(due_s - time.monotonic())
                answers.append(self._ledger.submit.remote(pack_rows(node.batch(time.time()))))
            ray.get(answers)
            late_s = max(late_s, time.monotonic() - begin_s - second - 1)
        return late_s


def cpu_s(pid: int) -> float:
    """User and system time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_gib(pid: int, line: str) -> float:
    """`VmHWM` (the most so far) or `VmRSS` (now)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(text.split()[1]) for text in lines if text.startswith(f"{line}:")) / 2**20


def actor_at_work(store: Store, num_nodes: int, num_senders: int, seconds: int) -> None:
    """Prints what the actor needs."""
    actor: Any = LedgerActor
    ledger = actor.remote(store)
    pid: Any = ray.get(ledger.__ray_call__.remote(lambda _: os.getpid()))
    bounds = [num_nodes * index // num_senders for index in range(num_senders + 1)]
    senders: list[Any] = [Sender.remote(ledger, range(*pair)) for pair in pairwise(bounds)]
    ray.get([sender.send.remote(1) for sender in senders])  # starts the processes, and tells the ledger of all nodes
    begin_s, begin_cpu_s, begin_gib = time.monotonic(), cpu_s(pid), memory_gib(pid, "VmRSS")
    late_s = max(ray.get([sender.send.remote(seconds) for sender in senders]))
    share = (cpu_s(pid) - begin_cpu_s) / (time.monotonic() - begin_s)
    print(f"{num_nodes / (1 + late_s / seconds):.0f} batches/s taken, answers up to {late_s:.2f} s late")
    print(f"CPU                  {share:8.2f} cores (at most 0.50 wanted)")
    most_gib = memory_gib(pid, "VmHWM")
    print(f"memory               {most_gib:8.2f} GiB   (at most 1.00 wanted; {begin_gib:.2f} at the start)")
    ray.get(ledger.flush.remote())
    ray.kill(ledger)


def hour_of_work(store: Store, num_nodes: int) -> None:
    """Writes what an hour of the same work leaves after it was merged."""
    clock = [DAY_S * 20_000]
    book = Book(store, clock=lambda: clock[0])
    nodes = [SimulatedNode(number) for number in range(num_nodes)]
    end_s = clock[0] + HOUR_S
    while clock[0] < end_s:
        for node in nodes:
            book.take(node.batch(clock[0], ACCOUNT_S))
        clock[0] += ACCOUNT_S
        book.flush()
    book.close()


def query_s(store: Store) -> tuple[float, int]:
    """Seconds for energy by lineage and stage, and the entries that it was summed from."""
    begin_s = time.perf_counter()
    ledger = read_ledger(store)
    ledger.by(["lineage", "stage"])
    return time.perf_counter() - begin_s, ledger.entries.num_rows


def size(folder: str) -> int:
    return sum(path.stat().st_size for path in Path(folder, "ledger").iterdir())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gpus", type=int, default=10_000)
    parser.add_argument("--seconds", type=int, default=120)
    parser.add_argument("--senders", type=int, default=2)
    arguments = parser.parse_args()
    num_nodes = arguments.gpus // GPUS_PER_NODE
    with tempfile.TemporaryDirectory() as live, tempfile.TemporaryDirectory() as merged:
        ray.init(address="local", num_cpus=1, include_dashboard=False)
        actor_at_work(Store(live), num_nodes, arguments.senders, arguments.seconds)
        ray.shutdown()
        hour_of_work(Store(merged), num_nodes)
        written = size(live) / (arguments.seconds + 1) * DAY_S
        print(f"journal, as written  {written / 2**30:8.2f} GiB a day, a segment every {FLUSH_S:.0f} s")
        print(f"journal, merged      {size(merged) / HOUR_S * DAY_S / 2**30:8.2f} GiB a day")
        for name, folder in (("written", live), ("merged", merged)):
            seconds, num_entries = query_s(Store(folder))
            print(f"query, as {name:10} {seconds:8.2f} s     (at most 1.00 wanted), {num_entries} entries")
        findings = check(Store(live))
        print(f"check: {findings[0].message if findings else 'every microjoule counts once'}")


if __name__ == "__main__":
    main()
