"""Streaming attribution: its law against arbitrary input."""

import pytest
from cycles import CPU, GPU, key
from hypothesis import given, settings
from hypothesis import strategies as st
from told_accounts import Told

from collapse_ray.energy.marks import Mark
from collapse_ray.energy.sampler import Sampler
from collapse_ray.energy.series import Device, Quality
from collapse_ray.energy.settle import Settler
from collapse_ray.energy.source import Reading


class Scripted:
    """A device that does what a draw says: counts, restarts, stands still, is lost, has power alone."""

    quality: Quality = "counter"
    absence: str | None = None

    def __init__(self, ticks: bool, device: Device) -> None:
        self.ticks, self.device = ticks, device
        self.counter_uj, self.time_s, self.power_w = 10**9, 0.0, 100.0
        self.state = "well"

    def devices(self) -> list[Device]:
        return [self.device]

    def step(self, seconds: float) -> None:
        self.time_s += seconds
        if self.state != "stuck":
            self.counter_uj += round(seconds * self.power_w * 1e6)

    def read(self, uuid: str) -> Reading:
        if self.state == "lost":
            return Reading(self.time_s, fault="lost")
        if self.state == "power":
            return Reading(self.time_s, power_w=self.power_w)
        return Reading(self.time_s, self.counter_uj, self.power_w)

    def counter(self, uuid: str) -> tuple[float, int | None]:
        return self.time_s, None if self.state in ("lost", "power") else self.counter_uj

    def close(self) -> None: ...


ACTIONS = st.one_of(
    st.tuples(st.just("pass"), st.floats(0.01, 5)),
    st.tuples(st.just("pass"), st.floats(5, 30)),
    st.tuples(st.just("begin"), st.tuples(st.integers(0, 4), st.floats(0, 3))),
    st.tuples(st.just("end"), st.tuples(st.integers(0, 4), st.floats(0, 3))),
    st.tuples(st.just("state"), st.sampled_from(["well", "lost", "power", "stuck"])),
    st.tuples(st.just("power"), st.floats(0, 700)),
    st.tuples(st.just("reset"), st.just(0)),
    st.tuples(st.just("settle"), st.booleans()),
)


@pytest.mark.slow
@given(st.lists(ACTIONS, min_size=15, max_size=60), st.booleans(), st.booleans())
@settings(max_examples=60, deadline=None)
def test_every_microjoule_is_told_once_whatever_comes(actions: list, ticks: bool, gpu: bool) -> None:
    device = GPU if gpu else CPU
    source = Scripted(ticks, device)
    sampler = Sampler([source], now=lambda: source.time_s)
    settler, told = Settler("node-1"), Told()
    sampler.step()
    first_uj = last_uj = 0

    def settle(forget: bool = False, final: bool = False) -> None:
        told.take(settler.settle(source.time_s, sampler.series(), sampler.open_gaps(), final=final))
        if forget:
            sampler.forget(settler.needed_from_s())

    for action, value in actions:
        match action:
            case "pass":
                end_s = source.time_s + value
                while source.time_s < end_s:
                    source.step(min(max(sampler.due_s() - source.time_s, 0.02), end_s - source.time_s + 1e-6))
                    sampler.step()
            case "begin":
                token, late_s = value
                mark = Mark(key("train", token, device), max(0.0, source.time_s - late_s), share=(token + 1) / 5)
                sampler.mark(mark.begin_s)
                settler.begin(token, [mark])
            case "end":
                token, late_s = value
                settler.end(token, sampler.mark(source.time_s - late_s))
            case "state":
                source.state = value
            case "power":
                source.power_w = value
            case "reset":
                source.counter_uj = 0
            case "settle":
                settle(forget=value)
        series = sampler.series()[device.uuid]
        if series.points:
            last_uj = series.points[-1].energy_uj
    settle(final=True)
    assert told.accounts.total_uj() == last_uj - first_uj
    for _, account in told.accounts:
        assert min([0, *account.parts.values()]) == 0
        assert min(account.measured_s, account.unmeasured_s) >= 0
