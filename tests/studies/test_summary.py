"""The summary of a protocol has a line for each part and each axis of its runs."""

from goodinit.studies import summary


def test_a_study_is_summarized_by_its_parts_its_axes_and_its_number_of_runs(workspace):
    study = workspace.study(
        fixed={
            "data": "digits",
            "model": {"name": "mlp", "hidden": [8, 4]},
            "init": "gaussian",
            "optimizer": {"name": "sgd", "lr": 0.1},
            "curriculum": {"name": "full", "replacement": False},
            "training": {"steps": 4, "evaluate_on": []},
        },
        compare={"model.activation": ["tanh", "relu"], "init.std": list(range(1, 14))},
        tune={"trials": 2, "draw": {"optimizer.lr": {"log_uniform": [0.001, 0.1]}}},
    )
    assert summary.lines(study, "paper") == [
        "data: digits",
        "model: mlp, hidden 8 4, and what is compared",
        "init: gaussian, and what is compared",
        "objective: cross_entropy",
        "optimizer: sgd, and what is compared",
        "update: synchronous",
        "curriculum: full, replacement no",
        "training: steps 4, evaluate_on none",
        "compared: model.activation: tanh; relu",
        "compared: init.std: 13 from 1 to 13",
        "random search: 2 trials, drawn separately for each seed",
        "156 runs, 3 seeds of each",
    ]


def test_a_scale_without_runs_has_no_summary(workspace):
    assert summary.lines(workspace.study(scales={"laptop": {"seeds": 0}}), "laptop") == []
