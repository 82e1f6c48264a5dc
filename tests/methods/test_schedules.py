"""Learning-rate schedules, as functions and in runs."""

import numpy as np
import pytest
import torch

from goodinit.methods import schedules
from goodinit.training import trainer


def test_step_decays_at_each_given_update():
    factor = schedules.step(at=[3, 5], factor=0.5)
    assert [factor(updates) for updates in range(8)] == [1, 1, 1, 0.5, 0.5, 0.25, 0.25, 0.25]


def test_step_divides_by_ten_by_default():
    factor = schedules.step(at=[40_000, 60_000, 80_000])
    for count, at in enumerate((40_000, 60_000, 80_000)):
        expected = [0.1**count] + [0.1 ** (count + 1)] * 2
        assert [factor(at + offset) for offset in (-1, 0, 1)] == pytest.approx(expected)


def test_polynomial_is_a_power_of_the_remaining_fraction():
    factor = schedules.polynomial(steps=4, power=0.5)
    assert [factor(updates) for updates in range(6)] == pytest.approx([1, 0.75**0.5, 0.5**0.5, 0.5, 0, 0])
    assert [schedules.polynomial(steps=4)(updates) for updates in range(5)] == [1, 0.75, 0.5, 0.25, 0]


@pytest.mark.parametrize("options", [{"steps": 0}, {"steps": 3, "power": 0.0}, {"steps": 3, "power": -0.5}])
def test_polynomial_rejects_options_out_of_range(options):
    with pytest.raises(ValueError, match="polynomial: steps must be at least 1 and power more than 0"):
        schedules.polynomial(**options)


@pytest.mark.parametrize(
    "options",
    [{"at": [3, 2]}, {"at": [2, 2]}, *({"at": [2], "factor": factor} for factor in (0.0, 1.0, -0.1, 2.0))],
)
def test_step_rejects_updates_and_factors_out_of_range(options):
    with pytest.raises(ValueError, match="step: at must increase and factor be between 0 and 1"):
        schedules.step(**options)


def _positions(workspace, tmp_path, optimizer, at, steps):
    """Return the positions of a run with a schedule after every update, (steps + 1, 2)."""
    fixed = {
        "data": "empty",
        "model": "quadratic",
        "init": "as_built",
        "objective": "value",
        "schedule": {"name": "step", "at": at, "factor": 0.5},
        "training": {"steps": steps, "batch_size": 1, "diagnose_every": 1},
        "diagnostics": ["path"],
    }
    conditions = {"only": {"optimizer": optimizer}}
    (run,) = workspace.study(fixed=fixed, compare=None, conditions=conditions, seeds=1).runs("laptop")
    (record,) = trainer.execute([run], data_root=tmp_path, device=torch.device("cpu"))
    return record.series["position"].values


@pytest.mark.parametrize(("at", "steps"), [([3, 5], 8), ([99, 100, 101, 150], 203)])
def test_first_update_with_the_smaller_rate_follows_the_given_number_of_updates(workspace, tmp_path, at, steps):
    """The second schedule changes the rate around the step at which losses are fetched from the device."""
    expected = [np.array([-7.0, 2.0])]
    for updates in range(steps):
        lr = 0.01 * 0.5 ** sum(updates >= number for number in at)
        expected.append(expected[-1] - lr * expected[-1] * [0.1, 2.0])
    positions = _positions(workspace, tmp_path, {"name": "sgd", "lr": 0.01}, at, steps)
    np.testing.assert_allclose(positions, expected, rtol=2e-5)


def test_momentum_keeps_its_velocity_when_the_rate_decreases(workspace, tmp_path):
    point, velocity, expected = np.array([-7.0, 2.0]), 0.0, [[-7.0, 2.0]]
    for lr in (0.1, 0.1, 0.1, 0.05, 0.05, 0.025):
        velocity = 0.9 * velocity - lr * point * [0.1, 2.0]
        point = point + velocity
        expected.append(point)
    positions = _positions(workspace, tmp_path, {"name": "momentum", "lr": 0.1, "momentum": 0.9}, [3, 5], 6)
    np.testing.assert_allclose(positions, expected, rtol=1e-5)
