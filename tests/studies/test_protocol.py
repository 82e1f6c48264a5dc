"""Differences from the published protocol are computed from the runs."""

import pytest

from goodinit.studies import protocol


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"seeds": 1, "pack": 1}, []),
        ({"training.evaluate_every": 2, "data.test_examples": 8, "diagnostics": ["layer_outputs"]}, []),
        ({"training.steps": 2}, ["training.steps: 2 instead of 4"]),
        ({"optimizer.lr": 0.5}, ["optimizer.lr: 0.5 instead of 1.0"]),
        ({"model.hidden": [3], "data.test_examples": 9}, ["model.hidden: [3] instead of [8]"]),
        ({"training.precision": "bf16"}, ["training.precision: bf16 instead of fp32"]),
        ({"compare.init": {"zeta": "he_normal"}}, ["init: zeta instead of zeta, alpha, Mu"]),
        ({"compare.init": {"zeta": "he_normal", "alpha": "he_uniform", "Mu": "he_normal"}},
         ["init.name: he_normal instead of lecun_normal"]),
    ],
)  # fmt: skip
def test_differences(workspace, changes, expected):
    inits = {"zeta": "he_normal", "alpha": "he_uniform", "Mu": "lecun_normal"}
    fixed = {
        "data": {"name": "digits", "test_examples": 32},
        "model": {"name": "mlp", "hidden": [8]},
        "optimizer": {"name": "sgd", "lr": 1.0},
        "training": {"steps": 4, "batch_size": 10},
    }
    study = workspace.study(fixed=fixed, compare={"init": inits}, scales={"laptop": changes})
    assert protocol.differences(study, "laptop") == expected
    assert protocol.differences(study, "paper") == []


def test_a_default_that_is_written_out_is_no_difference(workspace):
    study = workspace.study(scales={"laptop": {"training.precision": "fp32"}})
    assert protocol.differences(study, "laptop") == []


def test_only_the_conditions_of_a_claim_are_compared(workspace):
    conditions = {label: {"init": "he_normal", "optimizer.lr": lr} for label, lr in (("A", 1.0), ("B", 2.0))}
    changes = {"conditions.B": {"init": "he_normal", "optimizer.lr": 5.0}}
    study = workspace.study(conditions=conditions, compare=None, scales={"laptop": changes})
    assert protocol.differences(study, "laptop", [{"condition": "A", "layer": 3}]) == []
    changed = ["optimizer.lr: 5.0 instead of 2.0"]
    assert protocol.differences(study, "laptop", [{"condition": ["A", "B"]}]) == changed
    assert protocol.differences(study, "laptop", [{"condition": "A"}, {"condition": "B"}]) == changed


def test_the_length_of_training_does_not_matter_at_a_fixed_step(workspace):
    study = workspace.study(scales={"laptop": {"training.steps": 2}})
    assert protocol.differences(study, "laptop", at_fixed_step=True) == []


def test_the_number_of_trials_matters_and_what_they_draw_does_not(workspace):
    tune = {"trials": 4, "draw": {"optimizer.lr": {"log_uniform": [1e-4, 1e-1]}}}
    fixed = {
        "data": {"name": "digits"}, "model": "mlp", "init": "he_normal", "optimizer": "sgd", "training": {"steps": 4}
    }  # fmt: skip
    study = workspace.study(fixed=fixed, compare=None, tune=tune, scales={"laptop": {"tune.trials": 2}})
    assert protocol.differences(study, "laptop") == ["trials: 2 instead of 4"]
    assert protocol.differences(study, "paper") == []


def test_a_study_that_is_not_run_at_a_scale_has_no_differences(workspace):
    assert protocol.differences(workspace.study(scales={"laptop": {"seeds": 0}}), "laptop") == []
