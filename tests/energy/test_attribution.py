"""Attribution against the closed-form integral of the power, and its law against arbitrary input."""

import math

import numpy as np
import pytest
from cycles import CPU, GPU, Cycles, key
from hypothesis import given, settings
from hypothesis import strategies as st

from collapse_ray.energy.accounts import Accounts
from collapse_ray.energy.attribution import attribute
from collapse_ray.energy.marks import AccountKey, Mark, Usage
from collapse_ray.energy.series import Device, Gap, Point, Series


def errors(cycles: Cycles, series: Series, **options) -> dict[str, float]:
    """Relative error of each account summed over the cycles; the sum must be exact."""
    accounts = attribute(cycles.marks, [series], **options)
    assert accounts.total_uj() == series.points[-1].energy_uj - series.points[0].energy_uj
    got = accounts.by(lambda one: one.stage or one.kind)
    return {name: (got[name].energy_uj or 0) / 1e6 / true - 1 for name, true in cycles.truth_j().items()}


def worst(errors_by_name: dict[str, float]) -> float:
    return max(map(abs, errors_by_name.values()))


@pytest.mark.slow
@pytest.mark.parametrize(("phase_s", "jitter_s"), [(0.0, 0.0), (0.05, 0.0), (0.087, 0.0), (0.005, 0.01), (0.03, 0.05)])
def test_stages_at_10_hz_and_at_the_marks(phase_s, jitter_s):
    # Short stages hold one or two ticks, so nobody sees their power change: how far it does bounds what can be known.
    long, short = Cycles(1.0), Cycles(0.1, change=0.05)
    assert worst(errors(long, long.read(10, True, phase_s, jitter_s))) < 0.01
    assert worst(errors(short, short.read(10, True, phase_s, jitter_s))) < 0.05


def test_without_ticks_and_least_squares_the_idle_account_is_far_off():
    # What the two buy: reads at the marks do not help, as they show the energy of up to 100 ms before.
    cycles = Cycles(1.0)
    assert abs(errors(cycles, cycles.read(10, True, 0.013), tick_s=None, least_squares=False)["idle"]) > 0.05


@pytest.mark.slow
def test_each_generation_has_its_own_power():
    cycles = Cycles(1.0)
    accounts = attribute(cycles.marks, [cycles.read(10, True, 0.013)])
    for name, generation, begin_s, end_s, _ in cycles.loads:
        if name != "idle":
            true = float(cycles.energy_j(end_s) - cycles.energy_j(begin_s))
            assert (accounts[key(name, generation)].energy_uj or 0) / 1e6 == pytest.approx(true, rel=0.015)


@pytest.mark.parametrize("at_marks", [False, True])
def test_sparse_reads_least_squares_against_seconds(at_marks):
    cycles = Cycles(1.0)
    series = cycles.read(1, at_marks, 0.05)
    fitted = errors(cycles, series)
    by_seconds = errors(cycles, series, tick_s=None, least_squares=False)
    assert worst(fitted) < 0.03
    assert worst(by_seconds) > 3 * worst(fitted)
    if not at_marks:
        assert by_seconds["idle"] > 0.4


@pytest.mark.slow
@pytest.mark.parametrize("tick_s", [0.001, 0.02])
def test_counters_that_tick_fast_are_taken_as_current(tick_s):
    cycles = Cycles(1.0, number=3)
    assert worst(errors(cycles, cycles.read(10, True, 0.0, 0.01, tick_s=tick_s))) < 0.03


def test_residual_is_reported():
    cycles = Cycles(1.0)
    assert 0 < attribute(cycles.marks, [cycles.read(1, False, 0.0)]).residual["GPU-a"] < 0.1


def linear(device: Device = GPU, watts: float = 100.0, end: int = 10, gaps=()) -> Series:
    return Series(device, [Point(float(t), round(t * watts * 1e6), "counter") for t in range(end + 1)], list(gaps))


def joules(accounts: Accounts, one: AccountKey) -> float:
    return (accounts[one].energy_uj or 0) / 1e6


IDLE = AccountKey("idle", "node-1", "cpu-0")
FOREIGN = AccountKey("foreign", "node-1", "cpu-0")


def test_exclusive_and_idle():
    accounts = attribute([Mark(key("train", device=CPU), 2, 6)], [linear(CPU)])
    assert joules(accounts, key("train", device=CPU)) == 400
    assert joules(accounts, IDLE) == 600
    assert accounts[IDLE].by_rule == {"exclusive": 600_000_000}


def test_shared_devices_by_declared_fraction():
    a, b = key("train", device=CPU), key("train", device=CPU, lineage="b")
    accounts = attribute([Mark(a, 0, 8, share=0.25), Mark(b, 4, 10, share=0.5)], [linear(CPU)])
    # Alone 4 s, then a third of 4 s; two thirds of 4 s, then alone 2 s.
    assert joules(accounts, a) == pytest.approx(400 + 400 / 3, abs=1e-5)
    assert joules(accounts, b) == pytest.approx(200 + 800 / 3, abs=1e-5)
    assert set(accounts[a].by_rule) == {"exclusive", "declared_fraction"}
    undeclared = attribute([Mark(a, 0, 10), Mark(b, 0, 10)], [linear(CPU)])
    assert joules(undeclared, a) == 500
    assert set(undeclared[a].by_rule) == {"time"}


def test_shared_devices_and_foreign_work_by_sm_share():
    a = key("train", device=CPU)
    usage = [Usage("cpu-0", 0, 4, {"w1": 0.6, "other": 0.2}), Usage("cpu-0", 4, 10, {"w1": 0.7})]
    accounts = attribute([Mark(a, 0, 8, worker="w1")], [linear(CPU)], usage)
    assert joules(accounts, a) == 300 + 400
    assert joules(accounts, FOREIGN) == 100 + 200  # also what w1 did outside its mark
    assert accounts[FOREIGN].by_rule == {"sm_share": 300_000_000}
    assert accounts.total_uj() == 1_000_000_000


def test_inner_marks_take_their_time_from_the_outer():
    train = key("train", device=CPU)
    save = AccountKey("overhead", "node-1", "cpu-0", "sweep", "a", 1, "checkpoint")
    accounts = attribute([Mark(train, 0, 10), Mark(save, 4, 6)], [linear(CPU)])
    assert (joules(accounts, train), joules(accounts, save)) == (800, 200)


def test_a_driver_waits_while_lineages_of_its_sweep_work():
    driver = AccountKey("overhead", "node-1", "cpu-0", "sweep", stage="driver")
    other = AccountKey("overhead", "node-1", "cpu-0", "another", stage="driver")
    train = key("train", device=CPU)
    accounts = attribute([Mark(driver, 0, 10), Mark(train, 2, 8)], [linear(CPU)])
    assert (joules(accounts, driver), joules(accounts, train)) == (400, 600)
    # Of another sweep it is none's inner mark, and shares.
    accounts = attribute([Mark(other, 0, 10), Mark(train, 2, 8)], [linear(CPU)])
    assert (joules(accounts, other), joules(accounts, train)) == (700, 300)


def test_one_delta_over_two_stages_is_split_by_seconds():
    a, b = key("train", device=CPU), key("evaluate", device=CPU)
    series = Series(CPU, [Point(0.0, 0, "integrated"), Point(10.0, 999, "integrated")])
    accounts = attribute([Mark(a, 0, 2.5), Mark(b, 2.5, 10)], [series])
    assert (accounts[a].energy_uj, accounts[b].energy_uj) == (250, 749)
    assert dict(accounts[a].by_rule) == {"time": 250}
    assert accounts.residual == {}


def test_gaps_are_unmeasured_never_zero():
    train, evaluate = key("train", device=CPU), key("evaluate", device=CPU)
    points = [Point(float(t), min(t, 4) * 10, "counter") for t in (0, 2, 4, 8)] + [Point(10.0, 60, "counter")]
    gap = Gap(4, 8, "GPU_IS_LOST", bridged=False)
    marks = [Mark(train, 0, 4), Mark(evaluate, 5, 7)]
    accounts = attribute(marks, [Series(CPU, points, [gap])])
    assert accounts[train].energy_uj == 40
    assert accounts[evaluate].energy_uj is None
    assert (accounts[evaluate].quality, accounts[evaluate].unmeasured_s) == ("unmeasured", 2)
    assert (accounts[IDLE].energy_uj, accounts[IDLE].unmeasured_s) == (20, 2)
    assert accounts.gaps == {"cpu-0": [gap]}
    bridged = Series(CPU, [Point(0.0, 0, "counter"), Point(4.0, 40, "counter"), Point(8.0, 80, "counter")])
    bridged.gaps.append(Gap(4, 8, "TIMEOUT", bridged=True))
    assert attribute([Mark(train, 4, 8)], [bridged])[train].energy_uj == 40


def test_devices_without_a_series_and_marks_outside_it_are_unmeasured():
    lost, early = key("train"), key("train", device=CPU)
    accounts = attribute([Mark(lost, 0, 5), Mark(early, -3, -1)], [linear(CPU), Series(GPU)])
    assert (accounts[lost].energy_uj, accounts[lost].unmeasured_s) == (None, 5)
    assert (accounts[early].energy_uj, accounts[early].unmeasured_s) == (None, 2)
    assert accounts.total_uj("cpu-0") == 1_000_000_000


def test_quality_is_the_worst_and_all_are_kept():
    train = key("train", device=CPU)
    points = [Point(0.0, 0, "counter"), Point(1.0, 7, "counter"), Point(2.0, 12, "estimated")]
    account = attribute([Mark(train, 0, 2)], [Series(CPU, points)])[train]
    assert (account.quality, dict(account.by_quality)) == ("estimated", {"counter": 7, "estimated": 5})


@pytest.mark.slow
def test_consecutive_windows_add_up():
    cycles = Cycles(1.0, number=3)
    series = cycles.read(10, True, 0.013)
    whole = attribute(cycles.marks, [series])
    halves = [attribute(cycles.marks, [series], window=w) for w in ((-math.inf, 23.4), (23.4, math.inf))]
    joined = halves[0] + halves[1]
    assert {k: dict(v.by_rule) for k, v in joined} == {k: dict(v.by_rule) for k, v in whole}
    # A ledger that closes a segment knows only what came before, and later only what it kept.
    cut = next(i for i, point in enumerate(series.points) if point.time_s > 23.4)
    early = attribute(cycles.marks, [Series(GPU, series.points[:cut])], window=(-math.inf, 23.4))
    late = attribute(cycles.marks, [Series(GPU, series.points[cut - 100 :])], window=(23.4, math.inf))
    apart = early + late
    assert apart.total_uj() == whole.total_uj()
    for one, account in whole:
        assert apart[one].energy_uj == pytest.approx(account.energy_uj, rel=0.02)


@st.composite
def situations(draw):
    times = sorted(draw(st.lists(st.integers(0, 4000), min_size=2, max_size=25, unique=True)))
    deltas = draw(st.lists(st.integers(0, 10**12), min_size=len(times), max_size=len(times)))
    qualities = draw(st.lists(st.sampled_from(["counter", "integrated", "estimated"]), min_size=25, max_size=25))
    energies = np.cumsum(deltas)
    device = draw(st.sampled_from([GPU, CPU]))
    rows = zip(times, energies, qualities, strict=False)
    intervals = st.tuples(st.integers(-500, 4500), st.integers(0, 2000))
    gaps = [Gap(b / 100, (b + d) / 100, "lost", draw(st.booleans())) for b, d in draw(st.lists(intervals, max_size=2))]
    series = Series(device, [Point(t / 100, int(e), q) for t, e, q in rows], gaps)
    workers = st.sampled_from([None, "w1", "w2"])
    shares = st.sampled_from([None, 0.25, 0.5, 1.0])
    marks = [
        Mark(
            key(draw(st.sampled_from(["train", "generate"])), draw(st.integers(1, 3)), device),
            *(b / 100, (b + d) / 100),
            share=draw(shares),
            worker=draw(workers),
        )
        for b, d in draw(st.lists(intervals, max_size=6))
    ]
    sm = st.dictionaries(st.sampled_from(["w1", "w2", "else"]), st.floats(0, 1), max_size=3)
    usage = [Usage(device.uuid, b / 100, (b + d) / 100, draw(sm)) for b, d in draw(st.lists(intervals, max_size=3))]
    return marks, series, usage, draw(st.integers(0, 4000)) / 100


@pytest.mark.slow
@given(situations())
@settings(max_examples=80, deadline=None)
def test_every_microjoule_is_in_one_account_whatever_comes(situation):
    marks, series, usage, cut_s = situation
    whole = attribute(marks, [series], usage)
    assert whole.total_uj() == series.points[-1].energy_uj - series.points[0].energy_uj
    for _, account in whole:
        assert sum(account.by_rule.values()) == sum(account.by_quality.values())
        assert min([0, *account.by_rule.values()]) == 0
    early = attribute(marks, [series], usage, window=(-math.inf, cut_s))
    joined = early + attribute(marks, [series], usage, window=(cut_s, math.inf))
    before = [point.energy_uj for point in series.points if point.time_s <= cut_s] or [series.points[0].energy_uj]
    assert early.total_uj() == before[-1] - series.points[0].energy_uj
    assert {k: v.energy_uj for k, v in joined if v.energy_uj} == {k: v.energy_uj for k, v in whole if v.energy_uj}


def test_marks_say_what_is_wrong_with_them():
    with pytest.raises(ValueError, match="cannot end before it begins"):
        Mark(key("train"), 2, 1)
    with pytest.raises(ValueError, match=r"share is 1.5; give a fraction in \(0, 1\]"):
        Mark(key("train"), 0, 1, share=1.5)
    with pytest.raises(ValueError, match="kind is 'idle'"):
        Mark(IDLE, 0, 1)
