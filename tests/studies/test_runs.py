"""Runs and jobs of studies: product of axes, golden ids, and independent random streams."""

import copy
import json
import math
from pathlib import Path

import pytest
import torch
import yaml

from goodinit import studies
from goodinit.datasets import sets
from goodinit.errors import InputError
from goodinit.methods import curricula, diagnostics, initializers, models, objectives, optimizers, schedules, updates
from goodinit.report import figures, predicates
from goodinit.seeds import stream_seed
from goodinit.studies import components
from goodinit.studies.search import Distribution, RandomSearch
from goodinit.training import trainer

CONFIGS = Path(__file__).parents[2] / "configs"
RESULTS = Path(__file__).parents[2] / "results"
GOLDEN = {
    "xavier_he/activations": ("e110d041808c", "ed2b159f1baf"),
    "xavier_he/mnist": ("c3fe72f24a56", "f78ed60abf57"),
}
SEARCH = [  # the first two draws of textbook/random_search
    {"optimizer.weight_decay": 2.3211e-05, "optimizer.lr": 0.00265768},
    {"optimizer.weight_decay": 4.22933e-07, "optimizer.lr": 0.000252479},
]
TUNE = {
    "trials": 4,
    "draw": {"optimizer.lr": {"log_uniform": [1e-3, 1e-1]}, "init.std": {"uniform": [-1.0, 3.0]}},
}
STUDY = {
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
    file.write_text(yaml.safe_dump(STUDY | changes, sort_keys=False))
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
    body = copy.deepcopy(STUDY) | {"conditions": {"one": {}, "two": {"init": "lecun_normal", "optimizer.lr": 1}}}
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
    assert [run.parts["init"]["name"] for run in study.runs("demo")] == [STUDY["fixed"]["init"]] * 4
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
    reordered = dict(reversed(copy.deepcopy(STUDY["fixed"]).items()))
    assert ids(fixed=reordered, title="Another", question="What?") == base
    assert ids(fixed=STUDY["fixed"] | {"optimizer": {"name": "sgd", "lr": 0.2}})[0] != base[0]
    assert ids(revision=1)[0] != base[0]
    assert ids(seeds=3)[:2] == base[:2]
    assert set(ids(compare={"init": ["he_normal"], "model.activation": ["tanh", "relu"]})) < set(base)


def test_an_integer_and_an_equal_float_have_the_same_id():
    integer, decimal = (studies.Run({"optimizer": {"lr": value}}, 0, {}) for value in (1, 1.0))
    assert integer.id == decimal.id
    assert integer.id != studies.Run({"optimizer": {"lr": 1.5}}, 0, {}).id


def test_a_further_value_adds_only_its_runs(tmp_path):
    before = {run.id for run in _study(tmp_path).runs("paper")}
    compare = copy.deepcopy(STUDY["compare"])
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
    study = _study(tmp_path, fixed=STUDY["fixed"] | {"optimizer": {"name": "sgd", "lr": 1e-12}})
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


def _tuned(tmp_path, **changes):
    """Return a study with a random search."""
    fixed = STUDY["fixed"] | {"init": {"name": "gaussian"}}
    file = tmp_path / "work" / "study.yaml"
    file.parent.mkdir(exist_ok=True)
    body = {key: value for key, value in STUDY.items() if key not in ("compare", "scales")}
    file.write_text(yaml.safe_dump(body | {"fixed": fixed, "tune": TUNE} | changes, sort_keys=False))
    return studies.load(file)


def _draws(how, trials=2000):
    """Return the values that the trials draw for one hyper-parameter."""
    ((kind, (low, high)),) = how.items()
    draws = RandomSearch(trials, {"optimizer.lr": Distribution(kind, low, high)}).draw(trials, 0)
    assert list(draws) == list(range(1, trials + 1))
    return [values["optimizer.lr"] for values in draws.values()]


def test_each_seed_is_a_separate_random_search(tmp_path):
    study = _tuned(tmp_path)
    runs = study.runs("paper")
    assert [(run.labels, run.seed) for run in runs] == [({"trial": t}, s) for t in (1, 2, 3, 4) for s in (0, 1)]
    assert len({run.id for run in runs}) == 8
    for run in runs:
        drawn = study.draws("paper", run.seed)[run.labels["trial"]]
        assert drawn == {"optimizer.lr": run.parts["optimizer"]["lr"], "init.std": run.parts["init"]["std"]}
    assert len({run.parts["optimizer"]["lr"] for run in runs}) == 8
    assert study.tuned == ("optimizer.lr", "init.std")
    assert [run.id for run in _tuned(tmp_path).runs("paper")] == [run.id for run in runs]


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


def test_further_trials_and_hyper_parameters_do_not_change_draws(tmp_path):
    few = _tuned(tmp_path)
    more = _tuned(tmp_path, tune=TUNE | {"trials": 9})
    assert list(more.axes["trial"]) == list(range(1, 10))
    for seed in (0, 1):
        draws = few.draws("paper", seed)
        assert {trial: more.draws("paper", seed)[trial] for trial in draws} == draws
    assert {run.id for run in few.runs("paper")} < {run.id for run in more.runs("paper")}
    further = {"optimizer.weight_decay": {"uniform": [0, 1]}} | TUNE["draw"]
    third = _tuned(tmp_path, tune=TUNE | {"draw": further}).draws("paper", 0)
    for trial, drawn in few.draws("paper", 0).items():
        assert {path: third[trial][path] for path in drawn} == drawn
        assert third[trial]["optimizer.weight_decay"] not in drawn.values()


def test_a_scale_may_have_fewer_trials(tmp_path):
    study = _tuned(tmp_path, scales={"demo": {"tune.trials": 2, "seeds": 1}})
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


@pytest.mark.parametrize(
    ("name", "updates", "every"),
    [("weight_decay", 601, 3), ("dropout", 903, 3), ("batch_norm_scales", 191, 10), ("random_search", 200, 4)],
)
def test_textbook_studies_have_its_numbers_of_updates_and_evaluations(name, updates, every):
    for run in studies.find(CONFIGS, f"textbook/{name}").runs("paper"):
        training = run.parts["training"]
        assert {key: training[key] for key in ("steps", "evaluate_every", "evaluate_from", "batch_size")} == {
            "steps": updates, "evaluate_every": every, "evaluate_from": 1, "batch_size": 100
        }  # fmt: skip
        assert run.parts["curriculum"]["replacement"]


@pytest.mark.parametrize("scale", ["laptop", "paper"])
@pytest.mark.parametrize("name", ["weight_decay", "dropout", "batch_norm_scales", "random_search"])
def test_every_step_that_an_output_refers_to_is_evaluated(name, scale):
    study = studies.find(CONFIGS, f"textbook/{name}")
    steps = [measure.at for measure in (*study.table, *study.reported)]
    steps += [study.search.ranking.at] if study.search else []
    steps += [claim.options.get("at") for claim in study.claims]
    training = study.runs(scale)[0].parts["training"]
    evaluated = {0, training["steps"], *range(1, training["steps"] + 1, training["evaluate_every"])}
    assert {step for step in steps if isinstance(step, int)} <= evaluated


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


def _ids(name, scale, **labels):
    """Return the ids of a study's runs with these labels, by seed."""
    runs = studies.find(CONFIGS, name).runs(scale)
    return {run.seed: run.id for run in runs if labels.items() <= run.labels.items()}


@pytest.mark.parametrize("scale", studies.SCALES)
def test_runs_shared_by_studies_of_semi_synchronous_updates_have_equal_ids(scale):
    synchronous = [
        _ids("semisync/table1", scale, condition="BN (conv)"),
        _ids("semisync/table2", scale, condition="no Dropout", update="synchronous"),
        _ids("semisync/learning_rates", scale, condition="synchronous"),
        _ids("semisync/groups", scale, update="1 group"),
    ]
    grouped = [
        _ids("semisync/table2", scale, condition="no Dropout", update="semi-synchronous"),
        _ids("semisync/learning_rates", scale, condition="semi-synchronous"),
        _ids("semisync/groups", scale, update="sqrt(N) groups"),
    ]
    for same in (synchronous, grouped):
        longest = max(same, key=len)
        assert all(ids and ids.items() <= longest.items() for ids in same)


@pytest.mark.parametrize("scale", studies.SCALES)
def test_the_control_divides_the_learning_rate_of_hidden_layers_by_the_groups_or_their_root(scale):
    runs = studies.find(CONFIGS, "semisync/learning_rates").runs(scale)
    controls = {"synchronous, fc rate / groups": 1, "synchronous, fc rate / root of groups": 0.5}
    if scale == "overnight":  # where the root is left out
        del controls["synchronous, fc rate / root of groups"]
    for label, power in controls.items():
        (parts,) = {str(run.parts): run.parts for run in runs if run.labels["condition"] == label}.values()
        groups = parts["model"].get("units", 4096) ** 0.5
        expected = {"fc1": groups**-power, "fc2": groups**-power}
        assert parts["optimizer"]["layer_factors"] == pytest.approx(expected, rel=1e-5)
        assert parts["update"] == {"name": "synchronous"}


def test_table_2_uses_the_dropout_of_the_paper_and_table_1_also_inverted_dropout():
    paper_s, usual = {"dropout": 0.5, "inverted_dropout": False}, {"dropout": 0.5}
    for name, label, options in (
        ("table1", "Dropout", paper_s), ("table1", "Dropout (inverted)", usual), ("table2", "Dropout", paper_s)
    ):  # fmt: skip
        models_of = [run.parts["model"] for run in studies.find(CONFIGS, f"semisync/{name}").runs("paper")
                     if run.labels["condition"] == label]  # fmt: skip
        assert models_of
        for model in models_of:
            assert {key: value for key, value in model.items() if "dropout" in key} == options
