"""AMD GPUs in virtual time, through a double of the package `amdsmi`."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from pathlib import Path
from types import ModuleType

import pytest
from fake_amdsmi import NOT_SUPPORTED, Fault, Machine, Processor, package
from fake_gpus import Gpu

from collapse_ray.energy.amdsmi import AmdSmi
from collapse_ray.energy.sampler import Sampler
from collapse_ray.energy.window import DeviceEnergy, device_energy, total_energy_j

CODES = [1, 2, 7, 8, 9, 10, 12, 14, 16, 18, 30, 31, 32, 40, 43, 54, 4294967295]
BEGIN_S, DURATION_S = 110.0, 30.0
HEALTHY = Gpu(uuid="healthy", low=200)


@dataclass
class Node:
    machine: Machine
    source: AmdSmi
    sampler: Sampler

    def run_until(self, time_s: float) -> None:
        while (due_s := self.sampler.due_s()) < time_s:
            self.machine.time_s = max(due_s, self.machine.time_s) + 3e-4
            self.sampler.step()
        self.machine.time_s = max(time_s, self.machine.time_s)

    def window(self, begin_s: float = BEGIN_S) -> tuple[float, float, dict[str, DeviceEnergy]]:
        """Its begin and end as marked, and what each device used."""
        begin_s, end_s = self.mark(begin_s), self.mark(begin_s + DURATION_S)
        self.run_until(end_s + 0.7)
        gaps = self.sampler.open_gaps()
        series = self.sampler.series().items()
        return begin_s, end_s, {uuid: device_energy(s, begin_s, end_s, gaps.get(uuid)) for uuid, s in series}

    def mark(self, time_s: float) -> float:
        self.run_until(time_s)
        return self.sampler.mark()

    def assert_monotone(self) -> None:
        for series in self.sampler.series().values():
            energies = [point.energy_uj for point in series.points]
            assert energies == sorted(energies)


MakeNode = Callable[..., Node]


@pytest.fixture
def make_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeNode:
    def make(*processors: Processor, reload_s: tuple[float, float] = (inf, inf), init_code: int = 0) -> Node:
        machine = Machine(processors, tmp_path / "amdgpu", reload_s, init_code=init_code)
        machine.now()
        monkeypatch.setitem(sys.modules, "amdsmi", package(machine))
        source = AmdSmi("node", machine.driver, machine.now)
        return Node(machine, source, Sampler([source], now=machine.now))

    return make


WAVES = [
    Gpu(),
    Gpu(wave="square", low=100, high=500, period=2.13, duty=0.2),
    Gpu(wave="ramp", low=60, high=700, period=7.3),
]


@pytest.mark.parametrize("tick_s", [0.001, 0.02, 0.1])
@pytest.mark.parametrize("gpu", WAVES, ids=lambda gpu: gpu.wave)
def test_counter(make_node: MakeNode, gpu: Gpu, tick_s: float) -> None:
    """The unit of the library, rounded to 15.3 uJ, alone would be 0.27 % off."""
    node = make_node(Processor(gpu, tick_s=tick_s))
    begin_s, end_s, energies = node.window()
    device = energies["GPU-0"]
    assert device.energy_j == pytest.approx(gpu.energy_j(begin_s, end_s), rel=1e-3)
    assert (device.name, device.quality, device.gaps) == ("Instinct GPU-0", "counter", ())


@pytest.mark.parametrize("power", ["current_socket_power", "average_socket_power"], ids=["MI300", "MI200-Radeon"])
@pytest.mark.parametrize("absent", ["all-ones", "not-supported"])
def test_no_counter_integrates_power(make_node: MakeNode, absent: str, power: str) -> None:
    gpu = Gpu(wave="ramp", low=100, high=500, period=7.3)
    faults = [Fault(NOT_SUPPORTED, 0, only="energy_count")] if absent == "not-supported" else []
    node = make_node(Processor(gpu, faults, counter=absent != "all-ones", power=power))
    begin_s, end_s, energies = node.window()
    device = energies["GPU-0"]
    assert device.energy_j == pytest.approx(gpu.energy_j(begin_s, end_s), abs=0.1 * (gpu.high - gpu.low))
    assert (device.quality, device.gaps) == ("integrated", ())


def test_neither_counter_nor_power_is_unmeasured(make_node: MakeNode) -> None:
    device = make_node(Processor(Gpu(), counter=False, power="")).window()[2]["GPU-0"]
    assert (device.energy_j, device.quality) == (None, "unmeasured")
    assert "no energy counter" in device.gaps[0].reason


@pytest.mark.parametrize("code", CODES)
def test_every_error_for_a_while_is_bridged_by_the_counter(make_node: MakeNode, code: int) -> None:
    gpu = Gpu()
    node = make_node(Processor(gpu, [Fault(code, 118, 126)]), Processor(HEALTHY))
    begin_s, end_s, energies = node.window()
    device = energies["GPU-0"]
    assert device.energy_j == pytest.approx(gpu.energy_j(begin_s, end_s), rel=1e-3)
    assert all(gap.bridged and f"AMD SMI error {code}" in gap.reason for gap in device.gaps)
    assert device.gaps
    assert energies["healthy"].energy_j == pytest.approx(HEALTHY.energy_j(begin_s, end_s), rel=1e-3)
    node.assert_monotone()


def test_library_that_lost_its_state_once_costs_nothing(make_node: MakeNode) -> None:
    node = make_node(Processor(HEALTHY))
    node.run_until(120.0)
    node.machine.initialised = False
    begin_s, end_s, energies = node.window(120.2)
    assert energies["healthy"].energy_j == pytest.approx(HEALTHY.energy_j(begin_s, end_s), rel=1e-3)
    assert energies["healthy"].gaps == ()
    assert node.machine.inits == 2


def test_driver_reload(make_node: MakeNode) -> None:
    """5 s without a driver are unknowable; everything before and after is known."""
    gpu = Gpu()
    node = make_node(Processor(gpu), Processor(HEALTHY), reload_s=(118.0, 123.0))
    begin_s, end_s, energies = node.window()
    for fake in (gpu, HEALTHY):
        device = energies[fake.uuid]
        truth_j = fake.energy_j(begin_s, end_s)
        assert device.energy_j is not None
        # One interval before, 5 s of it unloaded, and the back-off at its end, which the new counter covers.
        assert truth_j - fake.low * (5 + 1.2) <= device.energy_j <= truth_j * 1.001
        assert [(gap.bridged, "amdgpu driver is not loaded" in gap.reason) for gap in device.gaps] == [(False, True)]
    node.assert_monotone()


def test_gpu_that_was_lost_when_the_library_was_opened_again_comes_back(make_node: MakeNode) -> None:
    gpu = Gpu()
    node = make_node(Processor(gpu, [Fault(31, 118, 126)]), Processor(HEALTHY))
    node.run_until(120.0)
    node.machine.initialised = False
    begin_s, end_s, energies = node.window(121.0)
    device = energies["GPU-0"]
    # The back-off of a second or two after the fault is bridged as well; before the fault there is the last point.
    assert device.energy_j == pytest.approx(gpu.energy_j(begin_s, end_s), rel=1e-3)
    assert [gap.bridged for gap in device.gaps] == [True]
    assert energies["healthy"].gaps == ()


def test_gpu_lost_for_good(make_node: MakeNode) -> None:
    gpu = Gpu()
    node = make_node(Processor(gpu, [Fault(31, 125)]), Processor(HEALTHY))
    begin_s, end_s, energies = node.window()
    device = energies["GPU-0"]
    assert device.energy_j == pytest.approx(gpu.energy_j(begin_s, 125), abs=300 * 1.2)
    assert [gap.bridged for gap in device.gaps] == [False]
    assert energies["healthy"].energy_j == pytest.approx(HEALTHY.energy_j(begin_s, end_s), rel=1e-3)


@pytest.mark.parametrize("uuids", [("board", "board", "board"), ("board", "board-1", "board-2")])
def test_partitions_count_once(make_node: MakeNode, uuids: tuple[str, ...]) -> None:
    partitions = [Processor(Gpu(uuid=uuid), partition=index) for index, uuid in enumerate(uuids)]
    node = make_node(*partitions)
    begin_s, end_s, energies = node.window()
    assert set(energies) == {"board"}
    assert total_energy_j(energies.values()) == pytest.approx(Gpu().energy_j(begin_s, end_s), rel=1e-3)


def test_second_die_is_unmeasured_and_not_nothing(make_node: MakeNode) -> None:
    node = make_node(Processor(Gpu()), Processor(Gpu(uuid="second"), dead=True))
    begin_s, end_s, energies = node.window()
    second = energies["second"]
    assert (second.energy_j, second.quality) == (None, "unmeasured")
    assert "second die of an MI250" in second.gaps[0].reason
    assert total_energy_j(energies.values()) == pytest.approx(Gpu().energy_j(begin_s, end_s), rel=1e-3)


def test_gpu_that_cannot_be_identified_is_told(make_node: MakeNode) -> None:
    node = make_node(Processor(Gpu(), [Fault(10, 0, only="identity")]), Processor(HEALTHY))
    assert [device.uuid for device in node.source.devices()] == ["healthy"]
    assert "AMD GPU 0 cannot be read: AMD SMI error 10" in (node.source.absence or "")


def test_gpu_that_can_be_identified_later_is_found_then(make_node: MakeNode) -> None:
    node = make_node(Processor(Gpu(), [Fault(10, 0, 130, only="identity")]), Processor(HEALTHY))
    node.machine.time_s = 140.0
    assert {device.uuid for device in node.source.devices()} == {"GPU-0", "healthy"}
    assert node.source.absence is None


def test_library_that_initialises_later_is_told_and_then_read(make_node: MakeNode) -> None:
    node = make_node(Processor(Gpu()), init_code=18)
    assert node.source.devices() == []
    assert "no AMD GPU can be read: AMD SMI error 18" in (node.source.absence or "")
    node.machine.init_code, node.machine.time_s = 0, 140.0
    assert [device.uuid for device in node.source.devices()] == ["GPU-0"]
    assert node.source.absence is None


def test_no_gpu_is_told(make_node: MakeNode) -> None:
    source = make_node().source
    assert (source.devices(), source.absence) == ([], "no AMD GPU can be read: AMD SMI finds none")
    source.close()


def test_no_driver_is_told(tmp_path: Path) -> None:
    source = AmdSmi("node", tmp_path / "absent")
    assert source.devices() == []
    assert "the amdgpu driver is not loaded" in (source.absence or "")
    source.close()


def test_no_package_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "amdsmi", None)
    source = AmdSmi("node", tmp_path)
    assert source.devices() == []
    assert "pip install /opt/rocm/share/amd_smi" in (source.absence or "")


def test_package_without_its_library_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Release 7.0.2 prints, and goes on until a look-up fails."""
    (tmp_path / "amdsmi.py").write_text("print('Unable to find libamd_smi.so library')\n{}['libamd_smi.so']\n")
    monkeypatch.delitem(sys.modules, "amdsmi", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    source = AmdSmi("node", tmp_path)
    assert "does not load ROCm's library (KeyError('libamd_smi.so'))" in (source.absence or "")
    assert capsys.readouterr().out == ""


def test_package_that_is_too_old_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "amdsmi", ModuleType("amdsmi"))
    assert "older than ROCm 6.3" in (AmdSmi("node", tmp_path).absence or "")
