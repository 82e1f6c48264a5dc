"""Fixtures: small studies with synthetic records, a small project, and data folders."""

import os
import random
import shutil
from pathlib import Path

import hypothesis
import numpy as np
import pytest
import torch
import yaml
from example_project import FIGURE_AND_CLAIM, TWO_INITIALIZERS, copy_project, snakemake

from goodinit import records, studies
from goodinit.report.frame import from_records

# As on the command line: the order of additions depends on the number of threads.
torch.set_num_threads(1)

# `make test` is the same every time: it runs only the explicit examples. `make test-all` draws random ones:
# --hypothesis-profile=fuzz --hypothesis-seed=<the seed that it prints>.
EVERY_CHECK = list(hypothesis.HealthCheck)
hypothesis.settings.register_profile("explicit", phases=[hypothesis.Phase.explicit], suppress_health_check=EVERY_CHECK)
hypothesis.settings.register_profile(
    "fuzz", max_examples=4000, deadline=None, database=None, print_blob=True, suppress_health_check=EVERY_CHECK
)
hypothesis.settings.load_profile("explicit")

# The labels are not in sorted order.
SIX_CONDITIONS = {
    "title": "A title",
    "source": {"work": "work", "where": "here"},
    "question": "Why?",
    "fixed": {
        "data": "digits",
        "model": {"name": "mlp", "hidden": [8]},
        "optimizer": {"name": "sgd", "lr": 0.1},
        "training": {"steps": 4},
    },
    "compare": {
        "model.activation": ["tanh", "relu"],
        "init": {"zeta": "he_normal", "alpha": "glorot_normal", "Mu": {"name": "gaussian", "std": 0.01}},
    },
    "seeds": 3,
    "pack": 9,
    "table": [{"metric": "loss"}],
}


class Workspace:
    """A folder of studies and of synthetic records."""

    def __init__(self, folder):
        self.configs, self.results, self.figures = (folder / name for name in ("configs", "results", "figures"))

    def study(self, name="study", **changes):
        """Write a study, SIX_CONDITIONS with changes (None: without that key), and load it."""
        file = self.configs / "work" / f"{name}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        body = {key: value for key, value in (SIX_CONDITIONS | changes).items() if value is not None}
        file.write_text(yaml.safe_dump(body, sort_keys=False), encoding="utf-8")
        return studies.load(file)

    def files(self, study, scale="laptop"):
        """Return the paths of the records of the study's jobs."""
        return [records.path(self.results, scale, study, job) for job in study.jobs(scale)]

    def fill(self, study, numbers, scale="laptop", jobs=slice(None), **changes):
        """Write the records of some jobs; `numbers(run)` gives the {metric: Series} of a run.

        Other fields of a record are changed to the values given, or to what the functions given return for a run.
        """
        for job in study.jobs(scale)[jobs]:
            runs = []
            for run in job.runs:
                fields = {name: value(run) if callable(value) else value for name, value in changes.items()}
                runs.append(self.run_record(run, numbers(run), **fields))
            records.write(records.path(self.results, scale, study, job), runs)

    def frame(self, study, numbers, scale="laptop", **changes):
        """Write the records of all jobs of a study, as `fill` does, and return their frame."""
        self.fill(study, numbers, scale, **changes)
        return from_records(study, scale, self.results)

    def conditions(self, metrics, scale="laptop", **changes):
        """Return a study of one condition for each label of {metric: {label: values}}, and its frame.

        The values are (seeds, steps) or (seeds, steps, layers), at the steps from 1.
        """
        metrics = {
            name: {label: np.asarray(values, dtype=float) for label, values in by_label.items()}
            for name, by_label in metrics.items()
        }
        first = next(iter(metrics.values()))
        conditions = {label: {"init": "he_normal", "optimizer.lr": 2.0**-i} for i, label in enumerate(first)}
        seeds = len(next(iter(first.values())))
        study = self.study(**{"conditions": conditions, "compare": None, "seeds": seeds} | changes)

        def numbers(run):
            label = run.labels["condition"]
            arrays = {name: by_label[label][run.seed] for name, by_label in metrics.items()}
            return {
                name: records.Series(np.arange(1, len(array) + 1), array, ("layer",)[: array.ndim - 1])
                for name, array in arrays.items()
            }

        return study, self.frame(study, numbers, scale)

    def trials(self, metrics, choose=None, scale="laptop", **changes):
        """Return a study of one trial for each row of {metric: values}, at the steps 1 and 2, and its frame.

        The values are (trials, seeds, 2); the learning rate and the weight decay are drawn.
        """
        first = np.asarray(next(iter(metrics.values())))
        draw = {"optimizer.lr": {"log_uniform": [1e-4, 1e-1]}, "optimizer.weight_decay": {"uniform": [0, 1]}}
        tune = {"trials": len(first), "draw": draw} | ({"choose": choose} if choose else {})
        fixed = SIX_CONDITIONS["fixed"] | {"init": "he_normal"}
        study = self.study(**{"fixed": fixed, "tune": tune, "compare": None, "seeds": first.shape[1]} | changes)

        def numbers(run):
            index = run.labels["trial"] - 1, run.seed
            return {
                name: records.Series(np.array([1, 2]), np.asarray(values)[index]) for name, values in metrics.items()
            }

        return study, self.frame(study, numbers, scale)

    @staticmethod
    def run_record(run, series, **changes):
        """Return the record of a run with these series."""
        defaults = {
            "filled": studies.fill(run.parts),
            "status": "finished",
            "diverged_at": None,
            "steps": 4,
            "seconds": {"training": 0.5},
            "provenance": {"device": "cpu", "commit": None},
        }
        return records.RunRecord(
            **{"id": run.id, "seed": run.seed, "parts": run.parts} | defaults | changes, series=series
        )


@pytest.fixture(autouse=True)
def same_random_numbers():
    """Start every test with the same global random state, whichever tests ran before it."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Return a small project in which the workflow ran once; tests leave it unchanged."""
    folder = copy_project(tmp_path_factory.mktemp("project"), TWO_INITIALIZERS + FIGURE_AND_CLAIM)
    status, output = snakemake(folder)
    assert status == 0, output
    return folder


@pytest.fixture
def project_copy(project, tmp_path):
    """Return a copy of the small project that a test may change."""
    return shutil.copytree(project, tmp_path / "copy", copy_function=shutil.copy2, symlinks=True)


@pytest.fixture(scope="session")
def workspace_class():
    """Return the class Workspace, for the fixtures of a module."""
    return Workspace


@pytest.fixture
def workspace(tmp_path):
    """A new Workspace."""
    return Workspace(tmp_path)


@pytest.fixture(autouse=True, scope="session")
def _ignore_prepared_folder():
    """Ignore the folder for prepared arrays in the environment of the user."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("GOODINIT_PREPARED", raising=False)
        yield


@pytest.fixture(scope="session")
def data_root(tmp_path_factory):
    """Return a data folder in which embedded data sets are prepared when they are first used."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture
def user_cache(tmp_path_factory, monkeypatch):
    """Return the folder of this package in a new user cache; it does not exist yet."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder / "goodinit"


@pytest.fixture(scope="session")
def real_data():
    """Return the folder of the real data sets, or skip."""
    folder = os.environ.get("GOODINIT_DATA")
    if not folder or not (Path(folder) / "MNIST").is_dir():
        pytest.skip("GOODINIT_DATA does not point to the real data sets")
    return Path(folder)
