"""The meter with sources of our own."""

import pytest

from collapse_ray.energy.meter import Meter
from collapse_ray.energy.series import Device, Gap, Point, Quality, Series
from collapse_ray.energy.source import Reading
from collapse_ray.energy.window import DeviceEnergy, device_energy, total_energy_j


class Broken:
    """A source whose second read fails in a way that nobody foresaw."""

    quality: Quality = "counter"
    ticks = False
    absence: str | None = None

    def __init__(self) -> None:
        self._reads = 0

    def devices(self) -> list[Device]:
        return [Device("cpu-0", "CPU", "cpu", "node")]

    def read(self, uuid: str) -> Reading:
        self._reads += 1
        if self._reads > 1:
            raise ZeroDivisionError
        return Reading(0.0, 0)

    def counter(self, uuid: str) -> tuple[float, int | None]:
        raise NotImplementedError

    def close(self) -> None: ...


def test_a_meter_that_fails_never_ends_the_experiment(caplog: pytest.LogCaptureFixture) -> None:
    with Meter(sources=[Broken()]) as meter, meter.window("w") as window:
        pass
    assert window.total_energy_j is None
    assert [device.quality for device in window.devices] == ["unmeasured"]
    assert "the energy meter failed" in caplog.text


def energy(value_j: float | None, quality: Quality) -> DeviceEnergy:
    return DeviceEnergy("u", "n", "cpu", value_j, quality)


def test_measured_and_estimated_are_never_added_up() -> None:
    counted, estimated = energy(5.0, "counter"), energy(3.0, "estimated")
    lost = energy(None, "unmeasured")
    assert total_energy_j([counted, estimated, energy(1.0, "integrated")]) == 6.0
    assert total_energy_j([estimated, lost]) == 3.0
    assert total_energy_j([lost]) is None
    assert total_energy_j([]) is None


def test_window_between_points() -> None:
    points = [Point(0, 0, "counter"), Point(10, 10_000_000, "counter"), Point(20, 40_000_000, "integrated")]
    gaps = [Gap(9, 13, "lost", bridged=True)]
    series = Series(Device("u", "n", "gpu", "node"), points, gaps)
    first = device_energy(series, 2.0, 8.0)
    assert (first.energy_j, first.quality, first.gaps) == (pytest.approx(6.0), "counter", ())
    second = device_energy(series, 5.0, 12.0)
    assert (second.energy_j, second.quality) == (pytest.approx(5.0 + 6.0), "integrated")
    assert second.gaps == (Gap(9, 12.0, "lost", bridged=True),)
    assert device_energy(series, 21.0, 22.0).energy_j is None
