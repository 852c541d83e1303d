"""Busy time times TDP, against hand-computed times."""

import os
from pathlib import Path

from collapse_ray.energy.estimate import CpuEstimate


def test_busy_time_uses_the_tdp(tmp_path: Path) -> None:
    stat = tmp_path / "stat"
    estimate = CpuEstimate("node", tdp_w=80.0, stat=stat)
    assert estimate.devices() == []  # there was no such file yet

    ticks = os.sysconf("SC_CLK_TCK")
    stat.write_text(f"cpu  {ticks} 0 {ticks} 1000 0 0 0 0 0 0\ncpu0 0\ncpu1 0\n")
    estimate = CpuEstimate("node", tdp_w=80.0, stat=stat)
    (device,) = estimate.devices()
    assert estimate.read(device.uuid).counter_uj == 80_000_000  # two seconds of one of two CPUs
    busy = [5 * ticks, ticks // 2, 2 * ticks, ticks // 4, ticks // 4]
    stat.write_text("cpu  {} {} {} 1400 80 {} {} 20 0 0\ncpu0 0\ncpu1 0\nintr 0\n".format(*busy))
    assert estimate.read(device.uuid).counter_uj == 8 / 2 * 80 * 1_000_000
    stat.write_text("cpu  0 0 0 1400 80 0 0 20 0 0\ncpu0 0\ncpu1 0\n")
    assert estimate.read(device.uuid).counter_uj == 8 / 2 * 80 * 1_000_000  # never back
    assert estimate.quality == "estimated"
    assert "80 W" in device.name


def test_default_tdp_is_said(tmp_path: Path) -> None:
    stat = tmp_path / "stat"
    stat.write_text("cpu  1 0 1 1 0 0 0 0 0 0\ncpu0 1\n")
    assert "4 W per core assumed" in CpuEstimate("node", stat=stat).devices()[0].name
