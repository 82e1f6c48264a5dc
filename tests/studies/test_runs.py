"""Runs and jobs of studies: product of axes, golden ids, and independent random streams."""

import copy
import json

import pytest
import torch
import yaml
from checkout import CONFIGS, RESULTS

from goodinit import studies
from goodinit.datasets import sets
from goodinit.errors import InputError
from goodinit.methods import curricula, diagnostics, initializers, models, objectives, optimizers, schedules, updates
from goodinit.report import figures, predicates
from goodinit.seeds import stream_seed
from goodinit.studies import components
from goodinit.training import trainer

GOLDEN = {
    "xavier_he/activations": ("e110d041808c", "ed2b159f1baf"),
    "xavier_he/mnist": ("c3fe72f24a56", "fba9c4042639"),
}
TWO_AXES = {
    "title": "A title",
    "source": {"work": "work", "where": "here"},
    "question": "Why?",
    "fixed": {
        "data": "digits",
        "model": {"name": "mlp", "hidden": [8]},
        "init": "he_normal",
        "optimizer": {"name": "sgd", "lr": 0.1},
        "training": {"steps": 3},
    },
    "compare": {
        "model.activation": ["relu", "tanh"],
        "init": {"small": {"name": "gaussian", "std": 0.01}, "He": "he_normal"},
    },
    "seeds": 2,
    "scales": {"demo": {"training.steps": 1, "seeds": 1}, "laptop": {"compare.init": ["he_normal"], "pack": 3}},
    "table": [{"metric": "loss"}],
}  # fmt: skip


def _study(tmp_path, **changes):
    file = tmp_path / "work" / "study.yaml"
    file.parent.mkdir(exist_ok=True)
    file.write_text(yaml.safe_dump(TWO_AXES | changes, sort_keys=False))
    return studies.load(file)


def test_product_of_axes_with_labels_first_axis_outermost(tmp_path):
    runs = _study(tmp_path).runs("paper")
    labels = [(*run.labels.values(), run.seed) for run in runs]
    assert labels == [(a, i, s) for a in ("relu", "tanh") for i in ("small", "He") for s in (0, 1)]
    assert runs[0].parts["init"] == {"name": "gaussian", "std": 0.01}
    assert runs[-1].parts["init"] == {"name": "he_normal"}
    assert runs[-1].parts["model"] == {"name": "mlp", "hidden": [8], "activation": "tanh"}
    assert runs[0].parts["objective"] == {"name": "cross_entropy"}


def test_resources_do_not_change_run_ids(tmp_path):
    resources = {"mem_mb": 9000, "runtime": 90}
    study = _study(
        tmp_path, resources=resources, scales={"paper": {"resources": {"runtime": 900}}, "laptop": {"pack": 3}}
    )
    assert study.resources_at("laptop") == resources
    assert study.resources_at("paper") == {"runtime": 900}
    assert [run.id for run in study.runs("paper")] == [run.id for run in _study(tmp_path).runs("paper")]


@pytest.mark.parametrize("resources", [{"mem_mb": 0}, {"runtime": 1.5}, {"memory": 1}, {}])
def test_invalid_resources_are_rejected(tmp_path, resources):
    for changes in ({"resources": resources}, {"scales": {"paper": {"resources": resources}}}):
        with pytest.raises(InputError, match="resources"):
            _study(tmp_path, **changes)


def test_scales_change_budget_and_axes(tmp_path):
    study = _study(tmp_path)
    assert [run.parts["training"]["steps"] for run in study.runs("demo")] == [1] * 4
    assert len(study.runs("laptop")) == 4
    assert [len(job.runs) for job in study.jobs("laptop")] == [3, 1]
    assert [len(job.runs) for job in study.jobs("paper")] == [1] * 8


def test_conditions_are_a_list_of_overrides(tmp_path):
    body = copy.deepcopy(TWO_AXES) | {"conditions": {"one": {}, "two": {"init": "lecun_normal", "optimizer.lr": 1}}}
    del body["compare"], body["scales"]
    (tmp_path / "work").mkdir(exist_ok=True)
    (tmp_path / "work" / "study.yaml").write_text(yaml.safe_dump(body))
    study = studies.load(tmp_path / "work" / "study.yaml")
    one, _, two, _ = study.runs("paper")
    assert one.labels == {"condition": "one"}
    assert (two.parts["init"]["name"], two.parts["optimizer"]["lr"]) == ("lecun_normal", 1)


def test_a_scale_may_change_one_condition_or_run_nothing(tmp_path):
    conditions = {"one": {"optimizer.lr": 1}, "two words": {"init": "lecun_normal", "optimizer.lr": 1}}
    scales = {"demo": {"conditions.two words": {"optimizer.lr": 2}}, "laptop": {"seeds": 0}}
    study = _study(tmp_path, conditions=conditions, scales=scales, compare={"data.scale": [1.0]})
    assert [run.parts["optimizer"]["lr"] for run in study.runs("demo")] == [1, 1, 2, 2]
    assert [run.parts["init"]["name"] for run in study.runs("demo")] == [TWO_AXES["fixed"]["init"]] * 4
    assert (study.runs("laptop"), study.jobs("laptop")) == ([], [])


def test_a_scale_may_leave_a_condition_out(tmp_path):
    conditions = {"one": {"optimizer.lr": 1}, "two": {"optimizer.lr": 2}, "three": {"optimizer.lr": 3}}
    scales = {"laptop": {"conditions.two": None}, "demo": {f"conditions.{label}": None for label in conditions}}
    study = _study(tmp_path, conditions=conditions, scales=scales, compare={"data.scale": [1.0]})
    assert {run.labels["condition"] for run in study.runs("laptop")} == {"one", "three"}
    assert {run.labels["condition"] for run in study.runs("paper")} == set(conditions)
    assert study.runs("demo") == []
    with pytest.raises(InputError, match=r"conditions\.two: None is not"):
        _study(tmp_path, conditions=conditions | {"two": None})


def test_ids_are_golden():
    """If this test fails, all committed records are lost: increase `revision` of a study instead."""
    ids = {
        name: (runs[0].id, runs[-1].id)
        for name in ("xavier_he/activations", "xavier_he/mnist")
        for runs in [studies.find(CONFIGS, name).runs("laptop")]
    }
    assert ids == GOLDEN


@pytest.mark.parametrize("scale", studies.SCALES[1:])
def test_every_committed_record_is_that_of_a_job(scale):
    """The names of files and the ids of runs in all committed records are those of today's studies."""
    committed = {file: json.loads(file.read_text())["runs"] for file in (RESULTS / scale / "runs").rglob("[!.]*.json")}
    assert committed
    for study in studies.load_all(CONFIGS):
        for job in study.jobs(scale):
            recorded = committed.pop(RESULTS / scale / "runs" / study.work / study.name / f"{job.name}.json", None)
            if recorded is not None:
                assert [run["id"] for run in recorded] == [run.id for run in job.runs]
    assert not committed


def test_an_id_depends_only_on_parts_seed_and_revision(tmp_path):
    def ids(**changes):
        return [run.id for run in _study(tmp_path, **changes).runs("paper")]

    base = ids()
    assert len(set(base)) == len(base)
    reordered = dict(reversed(copy.deepcopy(TWO_AXES["fixed"]).items()))
    assert ids(fixed=reordered, title="Another", question="What?") == base
    assert ids(fixed=TWO_AXES["fixed"] | {"optimizer": {"name": "sgd", "lr": 0.2}})[0] != base[0]
    assert ids(revision=1)[0] != base[0]
    assert ids(seeds=3)[:2] == base[:2]
    assert set(ids(compare={"init": ["he_normal"], "model.activation": ["tanh", "relu"]})) < set(base)


def test_an_integer_and_an_equal_float_have_the_same_id():
    integer, decimal = (studies.Run({"optimizer": {"lr": value}}, 0, {}) for value in (1, 1.0))
    assert integer.id == decimal.id
    assert integer.id != studies.Run({"optimizer": {"lr": 1.5}}, 0, {}).id


def test_a_further_value_adds_only_its_runs(tmp_path):
    before = {run.id for run in _study(tmp_path).runs("paper")}
    compare = copy.deepcopy(TWO_AXES["compare"])
    compare["init"]["LeCun"] = "lecun_normal"
    after = _study(tmp_path, compare=compare).runs("paper")
    assert {run.id for run in after} > before
    assert [run.labels["init"] for run in after if run.id not in before] == ["LeCun"] * 4


def test_random_streams_are_distinct_and_golden():
    seeds = {stream_seed(seed, purpose) for seed in range(100) for purpose in ("init", "order", "split", "dropout")}
    assert len(seeds) == 400
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert stream_seed(0, "init") == 1519069808562059438


def test_initializers_at_one_seed_see_the_same_batches(tmp_path, data_root):
    study = _study(tmp_path, fixed=TWO_AXES["fixed"] | {"optimizer": {"name": "sgd", "lr": 1e-12}})
    body = study.runs("paper")
    small, he = (
        next(run for run in body if run.labels["init"] == label and run.seed == 1) for label in ("small", "He")
    )
    seen = []
    original = objectives.cross_entropy
    for run in (small, he):
        batches = []
        objectives.cross_entropy = lambda net, batch, kept=batches: (
            kept.append(batch.labels.clone()),
            original(net, batch),
        )[1]
        try:
            list(trainer.execute([run], data_root=data_root, device=torch.device("cpu")))
        finally:
            objectives.cross_entropy = original
        seen.append(batches)
    assert all(map(torch.equal, *seen))


@pytest.mark.parametrize("study", studies.load_all(CONFIGS), ids=lambda study: f"{study.work}/{study.name}")
@pytest.mark.parametrize("scale", studies.SCALES)
def test_every_study_binds_to_real_functions(study, scale):
    modules = {"data": sets, "model": models, "init": initializers, "objective": objectives, "optimizer": optimizers,
               "schedule": schedules, "update": updates, "curriculum": curricula,
               "diagnostics": diagnostics}  # fmt: skip
    runs = study.runs(scale)
    assert len({run.id for run in runs}) == len(runs)
    assert sum(len(job.runs) for job in study.jobs(scale)) == len(runs)
    for run in runs:
        for part, filled in studies.fill(run.parts).items():
            for options in filled if isinstance(filled, list) else [filled]:
                assert part == "training" or callable(getattr(modules[part], options["name"]))
    assert {figure.kind for figure in study.figures.values()} <= set(figures.__all__)
    assert {claim.predicate for claim in study.claims} <= set(predicates.__all__)


def test_defaults_read_from_the_source_are_those_in_force():
    assert components.fill("model", {"name": "mlp"}) == {
        "name": "mlp",
        "hidden": [100] * 4,
        "activation": "relu",
        "bias": True,
        "batch_norm": False,
        "dropout": 0.0,
    }
    assert components.fill("init", {"name": "gaussian", "std": 1}) == {"name": "gaussian", "std": 1}
    assert components.fill("training", {"steps": 1})["precision"] == "fp32"


def test_a_study_that_is_named_twice_is_loaded_once():
    names = [study.full_name for study in studies.load_all(CONFIGS, ["xavier_he", "xavier_he/mnist"])]
    assert names == ["xavier_he/activations", "xavier_he/mnist"]
