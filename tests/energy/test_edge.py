"""How the energy of a tick is divided, by hand."""

import pytest

from collapse_ray.energy.edge import energy_left_j


@pytest.mark.parametrize(
    ("left_s", "mean_w", "power_w", "edge_w", "left_j"),
    [
        pytest.param(0.04, 300, 300, 300, 12.0, id="constant"),
        pytest.param(0.04, 200, 400, 100, 4.0, id="jump-before-the-mark-sensor-holds"),
        pytest.param(0.08, 200, 400, 100, 0.0133333 * 400 + 0.0666667 * 100, id="jump-after-the-mark"),
        pytest.param(0.04, 200, 100, 100, 4.0, id="jump-before-the-mark-sensor-saw-it"),
        pytest.param(0.04, 200, None, 100, 8.0, id="no-power"),
        pytest.param(0.15, 200, 400, 100, 30.0, id="more-than-a-tick"),
        pytest.param(0.04, 100, 900, 800, 10.0, id="never-more-than-the-tick-holds"),
    ],
)
def test_energy_left(left_s: float, mean_w: float, power_w: float | None, edge_w: float, left_j: float) -> None:
    assert energy_left_j(left_s, 0.1, mean_w, power_w, edge_w) == pytest.approx(left_j, rel=1e-3)
