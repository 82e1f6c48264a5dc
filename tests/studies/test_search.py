"""Random searches draw hyper-parameters that depend on the seed, the trial and the name alone."""

import math

import pytest
from checkout import CONFIGS

from goodinit import studies
from goodinit.studies.search import Distribution, RandomSearch

SEARCH = [  # the first two draws of textbook/random_search
    {"optimizer.weight_decay": 2.3211e-05, "optimizer.lr": 0.00265768},
    {"optimizer.weight_decay": 4.22933e-07, "optimizer.lr": 0.000252479},
]
TUNE = {
    "trials": 4,
    "draw": {"optimizer.lr": {"log_uniform": [1e-3, 1e-1]}, "init.std": {"uniform": [-1.0, 3.0]}},
}


@pytest.fixture
def tuned(workspace):
    """Return a function that writes a study with a random search, with changes, and loads it."""
    model, optimizer = {"name": "mlp", "hidden": [8]}, {"name": "sgd", "lr": 0.1}
    fixed = {"data": "digits", "model": model, "init": "gaussian", "optimizer": optimizer, "training": {"steps": 3}}
    return lambda **changes: workspace.study(**{"compare": None, "fixed": fixed, "tune": TUNE, "seeds": 2} | changes)


def _draws(how, trials=2000):
    """Return the values that the trials draw for one hyper-parameter."""
    ((kind, (low, high)),) = how.items()
    draws = RandomSearch(trials, {"optimizer.lr": Distribution(kind, low, high)}).draw(trials, 0)
    assert list(draws) == list(range(1, trials + 1))
    return [values["optimizer.lr"] for values in draws.values()]


def test_each_seed_is_a_separate_random_search(tuned):
    study = tuned()
    runs = study.runs("paper")
    assert [(run.labels, run.seed) for run in runs] == [({"trial": t}, s) for t in (1, 2, 3, 4) for s in (0, 1)]
    assert len({run.id for run in runs}) == 8
    for run in runs:
        drawn = study.draws("paper", run.seed)[run.labels["trial"]]
        assert drawn == {"optimizer.lr": run.parts["optimizer"]["lr"], "init.std": run.parts["init"]["std"]}
    assert len({run.parts["optimizer"]["lr"] for run in runs}) == 8
    assert study.tuned == ("optimizer.lr", "init.std")
    assert [run.id for run in tuned().runs("paper")] == [run.id for run in runs]


def test_uniform_draws_fill_their_range():
    draws = _draws({"uniform": [-1.0, 3.0]})
    assert min(draws) >= -1
    assert max(draws) <= 3
    assert abs(sum(draws) / 2000 - 1) < 4 * math.sqrt(4**2 / 12 / 2000)
    assert len(set(draws)) > 1980  # of six digits


def test_log_uniform_draws_are_uniform_in_the_logarithm():
    draws = _draws({"log_uniform": [1e-6, 1e-2]})
    logarithms = [math.log10(draw) for draw in draws]
    assert min(logarithms) >= -6
    assert max(logarithms) <= -2
    assert abs(sum(logarithms) / 2000 + 4) < 4 * math.sqrt(4**2 / 12 / 2000)
    for decade in range(-6, -2):  # as many in each
        count = sum(decade <= logarithm < decade + 1 for logarithm in logarithms)
        assert abs(count - 500) < 4 * math.sqrt(2000 * 0.25 * 0.75)


def test_draws_have_six_significant_digits():
    assert all(draw == float(f"{draw:.6g}") for draw in _draws({"log_uniform": [1e-6, 1e-2]}, 50))


def test_further_trials_and_hyper_parameters_do_not_change_draws(tuned):
    few = tuned()
    more = tuned(tune=TUNE | {"trials": 9})
    assert list(more.axes["trial"]) == list(range(1, 10))
    for seed in (0, 1):
        draws = few.draws("paper", seed)
        assert {trial: more.draws("paper", seed)[trial] for trial in draws} == draws
    assert {run.id for run in few.runs("paper")} < {run.id for run in more.runs("paper")}
    further = {"optimizer.weight_decay": {"uniform": [0, 1]}} | TUNE["draw"]
    third = tuned(tune=TUNE | {"draw": further}).draws("paper", 0)
    for trial, drawn in few.draws("paper", 0).items():
        assert {path: third[trial][path] for path in drawn} == drawn
        assert third[trial]["optimizer.weight_decay"] not in drawn.values()


def test_a_scale_may_have_fewer_trials(tuned):
    study = tuned(scales={"demo": {"tune.trials": 2, "seeds": 1}})
    assert [run.labels["trial"] for run in study.runs("demo")] == [1, 2]
    assert {run.id for run in study.runs("demo")} < {run.id for run in study.runs("paper")}


@pytest.mark.parametrize("scale", studies.SCALES)
def test_draws_of_the_textbook_search_are_golden(scale):
    runs = studies.find(CONFIGS, "textbook/random_search").runs(scale)
    for trial, drawn in enumerate(SEARCH, 1):
        options = [run.parts["optimizer"] for run in runs if (run.labels["trial"], run.seed) == (trial, 0)]
        named = {path.removeprefix("optimizer."): value for path, value in drawn.items()}
        assert all(one == {"name": "sgd"} | named for one in options)
    ranges = {"lr": (1e-6, 1e-2), "weight_decay": (1e-8, 1e-4)}
    for name, (low, high) in ranges.items():
        assert all(low <= run.parts["optimizer"][name] <= high for run in runs)
