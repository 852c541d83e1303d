"""RAPL from a made-up sysfs tree."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from collapse_ray.energy.rapl import Rapl
from collapse_ray.energy.sampler import Sampler


@dataclass
class Powercap:
    root: Path

    def zone(self, folder: str, name: str, energy_uj: int = 0, range_uj: int = 262_143_328_850) -> Path:
        path = self.root / folder
        path.mkdir()
        (path / "name").write_text(f"{name}\n")
        (path / "max_energy_range_uj").write_text(f"{range_uj}\n")
        (path / "energy_uj").write_text(f"{energy_uj}\n")
        return path / "energy_uj"


@pytest.fixture
def powercap(tmp_path: Path) -> Powercap:
    return Powercap(tmp_path)


def names(rapl: Rapl) -> list[tuple[str, str]]:
    return [(device.name, device.kind) for device in rapl.devices()]


def test_overlapping_domains_count_once(powercap: Powercap) -> None:
    powercap.zone("intel-rapl:0", "package-0", 5)
    powercap.zone("intel-rapl:0:0", "core", 6)
    powercap.zone("intel-rapl:0:1", "uncore", 7)
    powercap.zone("intel-rapl:0:2", "dram", 8)
    powercap.zone("intel-rapl:1", "package-1", 9)
    powercap.zone("intel-rapl:1:0", "dram", 10)
    powercap.zone("intel-rapl:2", "psys", 11)
    powercap.zone("intel-rapl-mmio:0", "package-0", 12)
    assert names(Rapl("node", powercap.root)) == [
        ("RAPL package-0", "cpu"),
        ("RAPL package-1", "cpu"),
        ("RAPL package-0/dram", "dram"),
        ("RAPL package-1/dram", "dram"),
    ]


def test_psys_alone_is_read(powercap: Powercap) -> None:
    powercap.zone("intel-rapl:0", "psys", 11)
    assert names(Rapl("node", powercap.root)) == [("RAPL psys", "cpu")]


def test_mirrored_counter_counts_once(powercap: Powercap) -> None:
    """An AMD processor of one counter and two names; the other socket has its own."""
    for index, energy_uj in enumerate((777, 777, 999)):
        powercap.zone(f"intel-rapl:{index}", f"package-{index}", energy_uj, range_uj=65_532_610_987)
    assert names(Rapl("node", powercap.root)) == [("RAPL package-0", "cpu"), ("RAPL package-2", "cpu")]


def test_wrap(powercap: Powercap) -> None:
    energy = powercap.zone("intel-rapl:0", "package-0", 900, range_uj=1000)
    rapl = Rapl("node", powercap.root)
    (device,) = rapl.devices()
    totals = []
    for raw_uj in (900, 950, 50, 60, 10):
        energy.write_text(str(raw_uj))
        totals.append(rapl.read(device.uuid).counter_uj)
    assert totals == [900, 950, 1050, 1060, 2010]
    # A meter that replaces this one goes on from where it was, over one more wrap.
    energy.write_text("5")
    successor = Rapl("node", powercap.root, known_uj={device.uuid: 2010})
    assert successor.read(device.uuid).counter_uj == 3005


def test_no_permission_is_unmeasured_and_says_how_to_mend(powercap: Powercap) -> None:
    powercap.zone("intel-rapl:0", "package-0", 5)
    powercap.zone("intel-rapl:0:0", "dram", 5)

    def forbid(path: Path) -> str:
        if path.name == "energy_uj":
            raise PermissionError(13, "Permission denied", str(path))
        return path.read_text()

    rapl = Rapl("node", powercap.root, read_text=forbid)
    sampler = Sampler([rapl])
    sampler.step()
    assert len(rapl.devices()) == 2
    for series in sampler.series().values():
        assert series.points == []
    for _, reason in sampler.open_gaps().values():
        assert "no permission" in reason
        assert "chmod a+r" in reason


def test_zone_that_vanishes_is_a_fault(powercap: Powercap) -> None:
    energy = powercap.zone("intel-rapl:0", "package-0", 5)
    rapl = Rapl("node", powercap.root)
    energy.unlink()
    reading = rapl.read(rapl.devices()[0].uuid)
    assert reading.counter_uj is None
    assert "No such file" in (reading.fault or "")


def test_no_rapl_says_so(tmp_path: Path) -> None:
    rapl = Rapl("node", tmp_path / "absent")
    assert rapl.devices() == []
    assert "no RAPL domain" in (rapl.absence or "")
