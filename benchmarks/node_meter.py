"""CPU share of a node's meter with 8 GPUs: reading, settling accounts, and making batches for the ledger.

python benchmarks/node_meter.py [--seconds 60]

The GPUs are those of tests/energy: an NVML of our own, whose counters tick every 100 ms. Once nothing happens but one
stage on all GPUs; once a stage ends and the next begins every 5 seconds. The bound is 0.1 % of a core.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from meters.scenarios import TESTBED

from collapse_ray.energy.marks import Work
from collapse_ray.ledger.batch import Ack, Batch
from collapse_ray.ledger.meter_actor import GRACE_S
from collapse_ray.ledger.node_meter import NodeMeter

NUM_GPUS = 8
BOUND_PERCENT = 0.1
STAGE_S = 5.0
READY = "COLLAPSE_FAKE_NVML"


def restart_with_gpus() -> None:
    """This process again, with a library of NVML before that of the machine."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        library = str(folder / "libnvidia-ml.so.1")
        source = str(TESTBED / "fake_nvml.c")
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, source, "-lm"], check=True)
        lines = [f"gpu uuid=GPU-{number} wave=constant low={300 + number}\n" for number in range(NUM_GPUS)]
        (folder / "gpus").write_text("".join(lines))
        environment = {**os.environ, "LD_LIBRARY_PATH": name, "FAKE_NVML": str(folder / "gpus"), READY: "1"}
        sys.exit(subprocess.run([sys.executable, *sys.argv], env=environment, check=False).returncode)


def share(meter: NodeMeter, seconds: float, *, stage_s: float | None) -> float:
    """Percent of a core that the meter's thread takes while stages of some length follow each other."""
    gpus = tuple(device.uuid for device in meter.devices if device.kind == "gpu")
    assert len(gpus) == NUM_GPUS, f"{len(gpus)} GPUs"
    begin_s, begin_cpu_s = time.monotonic(), meter.cpu_s
    number = 0
    while time.monotonic() - begin_s < seconds:
        work = Work("stage", "sweep", "lineage", 1, f"stage-{number % 3}")
        meter.begin(f"mark-{number}", work, gpus=gpus, worker="worker", time_s=time.monotonic())
        time.sleep(stage_s or seconds)
        meter.end(f"mark-{number}", time.monotonic())
        number += 1
    return 100 * (meter.cpu_s - begin_cpu_s) / (time.monotonic() - begin_s)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    arguments = parser.parse_args()
    if READY not in os.environ:
        restart_with_gpus()
    batches = list[Batch]()

    def take(batch: Batch) -> Ack:
        batches.append(batch)
        return Ack(batch.number, time.time())

    meter = NodeMeter("node", take, grace_s=GRACE_S)
    meter.start()
    time.sleep(3)  # learns the ticks
    for what, stage_s in (("one stage", None), (f"a stage every {STAGE_S:g} s", STAGE_S)):
        percent = share(meter, arguments.seconds, stage_s=stage_s)
        print(f"{NUM_GPUS} GPUs, {what:22} {percent:.3f} % of a core (at most {BOUND_PERCENT} % wanted)")
    assert meter.close()
    print(
        f"{len(batches)} batches, {sum(entry.energy_uj or 0 for one in batches for entry in one.entries) / 1e6:,.0f} J"
    )


if __name__ == "__main__":
    main()
