"""Utilisation times TDP, against hand-computed times."""

from pathlib import Path

from collapse_ray.energy.estimate import CpuEstimate


def test_half_busy_uses_half_the_tdp(tmp_path: Path) -> None:
    stat = tmp_path / "stat"
    times = iter([0.0, 10.0, 20.0])
    estimate = CpuEstimate("node", tdp_w=80.0, stat=stat, now=lambda: next(times))
    assert estimate.devices() == []  # there was no such file yet

    stat.write_text("cpu  100 0 100 1000 0 0 0 0 0 0\ncpu0 0\n")
    estimate = CpuEstimate("node", tdp_w=80.0, stat=stat, now=lambda: next(times))
    (device,) = estimate.devices()
    assert estimate.read(device.uuid).counter_uj == 0
    stat.write_text("cpu  300 50 250 1400 80 10 10 20 0 0\ncpu0 0\n")  # busy +420, all +920
    assert estimate.read(device.uuid).counter_uj == round(420 / 920 * 80 * 10 * 1e6)
    assert estimate.quality == "estimated"
    assert "80 W" in device.name


def test_default_tdp_is_said(tmp_path: Path) -> None:
    stat = tmp_path / "stat"
    stat.write_text("cpu  1 0 1 1 0 0 0 0 0 0\n")
    assert "4 W per core assumed" in CpuEstimate("node", stat=stat).devices()[0].name
