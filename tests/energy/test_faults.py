"""Whatever a driver does: never negative, healthy GPUs untouched, at most the unknowable lost, every gap told."""

import pytest
from fake_gpus import Gpu
from virtual_node import MakeNode, Node

from collapse_ray.energy.nvml import Nvml

HEALTHY = Gpu(uuid="GPU-healthy", low=200)
BEGIN_S, DURATION_S = 110.0, 30.0

CODES = [1, 3, 4, 6, 9, 10, 12, 13, 15, 16, 18, 27, 999]


def assert_monotone(node: Node) -> None:
    for series in node.sampler.series().values():
        energies = [point.energy_uj for point in series.points]
        times = [point.time_s for point in series.points]
        assert energies == sorted(energies)
        assert times == sorted(times)


@pytest.mark.parametrize("code", CODES)
def test_every_error_for_a_while_is_bridged_by_the_counter(make_node: MakeNode, code: int) -> None:
    gpu = Gpu(more=f"fault={code}@118-126")
    node = make_node(gpu, HEALTHY)
    begin_s, end_s, energies = node.window(BEGIN_S, DURATION_S)
    device, healthy = energies["GPU-0"], energies["GPU-healthy"]
    assert device.energy_j == pytest.approx(gpu.energy_j(begin_s, end_s), rel=1e-3)
    (gap,) = device.gaps
    assert gap.bridged
    assert f"NVML error {code}" in gap.reason
    assert gap.end_s - gap.begin_s == pytest.approx(8, abs=1.1)
    assert healthy.energy_j == pytest.approx(HEALTHY.energy_j(begin_s, end_s), rel=1e-3)
    assert_monotone(node)


def test_lost_for_good(make_node: MakeNode) -> None:
    gpu = Gpu(more="fault=15@125-1e9")
    node = make_node(gpu, HEALTHY)
    begin_s, end_s, energies = node.window(BEGIN_S, DURATION_S)
    device = energies["GPU-0"]
    assert device.energy_j == pytest.approx(gpu.energy_j(begin_s, 125), abs=300 * 1.2)  # one interval is unknowable
    (gap,) = device.gaps
    assert not gap.bridged
    assert gap.end_s == end_s
    assert energies["GPU-healthy"].energy_j == pytest.approx(HEALTHY.energy_j(begin_s, end_s), rel=1e-3)


def test_lost_before_the_window_is_unmeasured_not_zero(make_node: MakeNode) -> None:
    node = make_node(Gpu(more="fault=15@105-1e9"), HEALTHY)
    device = node.window(BEGIN_S, DURATION_S)[2]["GPU-0"]
    assert (device.energy_j, device.quality) == (None, "unmeasured")
    assert "NVML error 15" in device.gaps[0].reason


def test_counter_reset_is_integrated(make_node: MakeNode) -> None:
    gpu = Gpu(more="reset=121.5")
    node = make_node(gpu, HEALTHY)
    begin_s, end_s, energies = node.window(BEGIN_S, DURATION_S)
    device = energies["GPU-0"]
    assert device.energy_j == pytest.approx(gpu.energy_j(begin_s, end_s), abs=300 * 0.1)  # the tick it interrupts
    assert device.quality == "integrated"
    assert [(gap.bridged, gap.reason) for gap in device.gaps] == [(True, "the energy counter went back")]
    assert_monotone(node)


def test_counter_reset_without_power_counts_what_is_known(make_node: MakeNode) -> None:
    gpu = Gpu(more="reset=121.5 power=0")
    node = make_node(gpu)
    begin_s, end_s, energies = node.window(BEGIN_S, DURATION_S)
    device = energies["GPU-0"]
    assert device.energy_j is not None
    truth_j = gpu.energy_j(begin_s, end_s)
    assert truth_j - 300 * 1.1 < device.energy_j <= truth_j * 1.001
    assert [gap.bridged for gap in device.gaps] == [False]


@pytest.mark.parametrize("begin", ["118", "100.5"], ids=["in-the-window", "counter-passes-its-old-value"])
def test_driver_reload(make_node: MakeNode, begin: str) -> None:
    """5 s without a driver are unknowable; everything before and after is known."""
    gpu = Gpu(more="")
    node = make_node(gpu, HEALTHY, driver=f"reload={begin}-{float(begin) + 5}")
    begin_s, end_s, energies = node.window(float(begin) - 0.4, DURATION_S)
    for fake in (gpu, HEALTHY):
        device = energies[fake.uuid]
        truth_j = fake.energy_j(begin_s, end_s)
        assert device.energy_j is not None
        # One interval before, 5 s of it unloaded, and a tick.
        assert truth_j - fake.low * (5 + 1.2) <= device.energy_j <= truth_j * 1.001
        assert [gap.bridged for gap in device.gaps] == [False]
    assert_monotone(node)


def test_uninitialised_once_costs_nothing(make_node: MakeNode) -> None:
    gpu = Gpu()
    node = make_node(gpu, driver="uninit=120.3")
    begin_s, end_s, energies = node.window(BEGIN_S, DURATION_S)
    assert energies["GPU-0"].energy_j == pytest.approx(gpu.energy_j(begin_s, end_s), rel=1e-3)
    assert energies["GPU-0"].gaps == ()


@pytest.mark.parametrize("more", ["counter=0", "fault=3@0-1e9@counter", "fault=4@0-1e9@counter"])
@pytest.mark.parametrize("sensor", ["ideal", "a100", "h100"])
def test_no_counter_integrates_power(make_node: MakeNode, more: str, sensor: str) -> None:
    gpu = Gpu(wave="ramp", low=100, high=500, period=7.3, sensor=sensor, more=more)
    node = make_node(gpu)
    begin_s, end_s, energies = node.window(BEGIN_S, DURATION_S)
    device = energies["GPU-0"]
    # What a sensor holds is up to a tick old at each end.
    assert device.energy_j == pytest.approx(gpu.energy_j(begin_s, end_s), abs=2 * 0.1 * (gpu.high - gpu.low))
    assert (device.quality, device.gaps) == ("integrated", ())


def test_counter_lost_for_a_while_is_the_truth_again(make_node: MakeNode) -> None:
    gpu = Gpu(wave="square", low=100, high=400, period=2.13, duty=0.2, more="fault=3@118-126@counter")
    node = make_node(gpu)
    begin_s, end_s, energies = node.window(BEGIN_S, DURATION_S)
    assert energies["GPU-0"].energy_j == pytest.approx(gpu.energy_j(begin_s, end_s), rel=1e-3)
    assert energies["GPU-0"].quality == "integrated"
    assert_monotone(node)


def test_neither_counter_nor_power_is_unmeasured(make_node: MakeNode) -> None:
    node = make_node(Gpu(more="counter=0 power=0"), HEALTHY)
    energies = node.window(BEGIN_S, DURATION_S)[2]
    assert (energies["GPU-0"].energy_j, energies["GPU-0"].quality) == (None, "unmeasured")
    assert "NVML error 3" in energies["GPU-0"].gaps[0].reason
    assert energies["GPU-healthy"].energy_j is not None


def test_counter_that_stands_still_is_not_believed(make_node: MakeNode) -> None:
    gpu = Gpu(more="tick=1000")
    node = make_node(gpu)
    begin_s, end_s, energies = node.window(BEGIN_S, DURATION_S)
    assert energies["GPU-0"].energy_j == pytest.approx(gpu.energy_j(begin_s, end_s), rel=0.01)
    assert energies["GPU-0"].quality == "integrated"


def test_mig_board_counts_once(make_node: MakeNode) -> None:
    gpu = Gpu(more="mig=7")
    node = make_node(gpu)
    begin_s, end_s, energies = node.window(BEGIN_S, DURATION_S)
    assert sum(device.energy_j or 0 for device in energies.values()) == pytest.approx(
        gpu.energy_j(begin_s, end_s), rel=1e-3
    )


def test_driver_that_does_not_answer_means_no_devices(make_node: MakeNode) -> None:
    node = make_node(Gpu(), driver="init=9")
    assert node.source.devices() == []
    assert "NVML error 9" in (node.source.absence or "")


def test_missing_library_means_no_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pynvml.nvmlLib", None)
    monkeypatch.setattr("pynvml.CDLL", _not_found)
    source = Nvml("node")
    assert source.devices() == []
    assert "NVML error 12" in (source.absence or "")


def _not_found(name: str) -> None:
    raise OSError(name)
