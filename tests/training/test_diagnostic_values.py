"""What a diagnostic may return: names that nothing else uses, and arrays whose axes are named."""

import contextlib

import numpy as np
import pytest
import torch
from sample_training import execute

from goodinit import studies
from goodinit.errors import InputError
from goodinit.methods import diagnostics


def _observe(monkeypatch, name, values):
    """Let a diagnostic return these values, or the result of this function of the step."""

    @contextlib.contextmanager
    def observed(model, batch, generator, **options):
        yield values if callable(values) else lambda step: values

    monkeypatch.setattr(diagnostics, name, observed)


def _execute(study, data_root, *names):
    run = study.runs("paper")[-1]
    return execute([studies.Run(run.parts | {"diagnostics": [{"name": name} for name in names]}, 0, {})], data_root)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"mine": np.zeros(3)},
            r"^weight_variance: 'mine' has the shape \(3,\), but .*DIMENSIONS does not name 'mine'",
        ),
        ({"mine": torch.zeros(3, 4)}, r"'mine' has the shape \(3, 4\).*: name one axis there for each dimension"),
        ({"mine": [1, 2]}, r"'mine' has the shape \(2,\)"),
        ({"weight_sd": 1.0}, r"'weight_sd' has the shape \(\), but .*DIMENSIONS names the axes layer: return an array"),
        ({"weight_sd": np.zeros((2, 2))}, r"'weight_sd' has the shape \(2, 2\).*1 dimensions, or name one axis"),
        ({"mine": "text"}, "'mine' must be a number or a numeric array on the CPU, not str"),
        ({"mine": [[1], [1, 2]]}, "'mine' must be a number or a numeric array on the CPU, not list"),
        ({"mine": None}, "'mine' must be a number or a numeric array on the CPU, not NoneType"),
        (3, "must return {name: array or number}, not int"),
        *[
            ({name: 1.0}, f"^weight_variance: '{name}': the training already records values of this name: rename")
            for name in ("loss", "accuracy", "test_accuracy", "test_loss", "train_loss", "rescalings", "subset")
        ],
    ],
    ids=str,
)
def test_values_that_cannot_be_recorded_are_rejected_at_step_0(study, data_root, monkeypatch, values, message):
    _observe(monkeypatch, "weight_variance", values)
    with pytest.raises(InputError, match=message) as raised:
        _execute(study, data_root, "weight_variance")
    assert len(str(raised.value)) <= 280


def test_names_that_occur_later_are_checked(study, data_root, monkeypatch):
    _observe(monkeypatch, "weight_variance", lambda step: {"mine": np.zeros(2)} if step else {})
    with pytest.raises(InputError, match="'mine' has the shape"):
        _execute(study, data_root, "weight_variance")


def test_two_diagnostics_do_not_use_the_same_name(study, data_root, monkeypatch):
    for name in ("weight_variance", "update_size"):
        _observe(monkeypatch, name, {"mine": 1.0})
    with pytest.raises(InputError, match="update_size: 'mine': weight_variance already records values of this name"):
        _execute(study, data_root, "weight_variance", "update_size")
    with pytest.raises(InputError, match="weight_variance: 'mine': weight_variance already records"):
        _execute(study, data_root, "weight_variance", "weight_variance")


@pytest.mark.parametrize("value", [1, 1.0, True, np.float32(1), np.array(1.0), torch.tensor(1.0)])
def test_any_number_is_recorded_without_axes(study, data_root, monkeypatch, value):
    _observe(monkeypatch, "weight_variance", {"mine": value})
    series = _execute(study, data_root, "weight_variance")[0].series["mine"]
    assert (series.dimensions, series.values.shape) == ((), (2,))


def test_a_named_array_is_recorded_with_its_axes(study, data_root, monkeypatch):
    monkeypatch.setitem(diagnostics.DIMENSIONS, "mine", ("layer", "bin"))
    _observe(monkeypatch, "weight_variance", {"mine": np.zeros((3, 5))})
    series = _execute(study, data_root, "weight_variance")[0].series["mine"]
    assert (series.dimensions, series.values.shape) == (("layer", "bin"), (2, 3, 5))
