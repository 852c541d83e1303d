"""Meters that count in powers of two: from any sum one reads which of their batches it holds, and how often."""

from collapse_ray.energy.marks import AccountKey, Mark
from collapse_ray.energy.series import Device, Gap
from collapse_ray.ledger.batch import Batch, DeviceTotal, Entry

BEGIN_UNIX_S = 1_000_000.0
STAGES = ("train", "generate", "evaluate")


def work_on(node: str, device: str, number: int, artifact: str | None = None) -> AccountKey:
    stage = STAGES[number % len(STAGES)]
    return AccountKey("stage", node, device, "sweep", "lineage", number % 2, stage, None, artifact)


def bits(numbers: range | list[int]) -> int:
    """The energy of these batches, in microjoules."""
    return sum(1 << (number - 1) for number in numbers)


def device_of(node: str) -> Device:
    return Device(f"GPU-{node}", "H100", "gpu", node)


def batch_of(meter: str, number: int, node: str = "node", step_s: float = 600.0) -> Batch:
    """Batch `number` of a meter: a device whose entry is 2 ** (number - 1) uJ, one that could not be read, a mark.

    Six batches make an hour.
    """
    device = device_of(node)
    begin_s = BEGIN_UNIX_S + number * step_s
    key = work_on(node, device.uuid, number, artifact=meter)
    unread = AccountKey("idle", node, "GPU-lost")
    return Batch(
        meter=meter,
        node=node,
        number=number,
        entries=(
            Entry(key, "counter", "exclusive", bits([number]), step_s, begin_s, begin_s + step_s),
            Entry(unread, "unmeasured", None, None, step_s, begin_s, begin_s + step_s),
        ),
        totals=(DeviceTotal(device, bits(range(1, number + 1)), 10 + number, f"boot of {meter}", begin_s + step_s),),
        open_marks=(Mark(key, float(number), worker=f"worker-{number}"),),
        gaps=(("GPU-lost", Gap(float(number), number + 1.0, "lost", bridged=False)),),
    )


def batches(meter: str, numbers: range, node: str = "node") -> list[Batch]:
    return [batch_of(meter, number, node) for number in numbers]
