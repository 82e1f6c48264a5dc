"""From studies to runs and jobs: ids that stay, order that does not matter, streams of their own."""

import copy
from pathlib import Path

import pytest
import torch
import yaml

from goodinit import runner, signatures, spec
from goodinit.methods import curriculum, data, diagnostics, initialize, models, objectives, optimizers, updates
from goodinit.report import claims, figures

CONFIGS = Path(__file__).parents[1] / "configs"
GOLDEN = {
    "xavier_he/activations": ("a9f8598f0e7a", "bae79123860b"),
    "xavier_he/mnist": ("c3fe72f24a56", "f78ed60abf57"),
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
    return spec.load(file)


def test_product_of_axes_with_labels_first_axis_outermost(tmp_path):
    runs = _study(tmp_path).runs("paper")
    labels = [(*run.labels.values(), run.seed) for run in runs]
    assert labels == [(a, i, s) for a in ("relu", "tanh") for i in ("small", "He") for s in (0, 1)]
    assert runs[0].parts["init"] == {"name": "gaussian", "std": 0.01}
    assert runs[-1].parts["init"] == {"name": "he_normal"}
    assert runs[-1].parts["model"] == {"name": "mlp", "hidden": [8], "activation": "tanh"}
    assert runs[0].parts["objective"] == {"name": "cross_entropy"}


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
    study = spec.load(tmp_path / "work" / "study.yaml")
    one, _, two, _ = study.runs("paper")
    assert one.labels == {"condition": "one"}
    assert (two.parts["init"]["name"], two.parts["optimizer"]["lr"]) == ("lecun_normal", 1)


def test_ids_are_golden():
    """A change here means that every committed record is lost: raise `revision` of a study instead."""
    ids = {
        name: (runs[0].id, runs[-1].id)
        for name in ("xavier_he/activations", "xavier_he/mnist")
        for runs in [spec.find(CONFIGS, name).runs("laptop")]
    }
    assert ids == GOLDEN


def test_an_id_depends_on_what_a_run_is_and_on_nothing_else(tmp_path):
    def ids(**changes):
        return [run.id for run in _study(tmp_path, **changes).runs("paper")]

    base = ids()
    assert len(set(base)) == len(base)
    turned = copy.deepcopy(STUDY["fixed"])
    turned = {key: turned[key] for key in reversed(turned)}
    assert ids(fixed=turned, title="Another", question="What?") == base
    assert ids(fixed=STUDY["fixed"] | {"optimizer": {"name": "sgd", "lr": 0.2}})[0] != base[0]
    assert ids(revision=1)[0] != base[0]
    assert ids(seeds=3)[:2] == base[:2]
    assert set(ids(compare={"init": ["he_normal"], "model.activation": ["tanh", "relu"]})) < set(base)


def test_one_and_one_point_zero_are_the_same_run():
    one, other = (spec.Run({"optimizer": {"lr": value}}, 0, {}) for value in (1, 1.0))
    assert one.id == other.id
    assert one.id != spec.Run({"optimizer": {"lr": 1.5}}, 0, {}).id


def test_one_more_value_adds_just_those_runs(tmp_path):
    before = {run.id for run in _study(tmp_path).runs("paper")}
    more = copy.deepcopy(STUDY["compare"])
    more["init"]["LeCun"] = "lecun_normal"
    after = _study(tmp_path, compare=more).runs("paper")
    assert {run.id for run in after} > before
    assert [run.labels["init"] for run in after if run.id not in before] == ["LeCun"] * 4


def test_streams_are_apart_and_stay():
    seeds = {spec.stream(seed, purpose) for seed in range(100) for purpose in ("init", "order", "split", "dropout")}
    assert len(seeds) == 400
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert spec.stream(0, "init") == 1519069808562059438


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
            list(runner.execute([run], data_root=data_root, device=torch.device("cpu")))
        finally:
            objectives.cross_entropy = original
        seen.append(batches)
    assert all(map(torch.equal, *seen))


@pytest.mark.parametrize("study", spec.studies(CONFIGS), ids=lambda study: f"{study.work}/{study.name}")
@pytest.mark.parametrize("scale", spec.SCALES)
def test_every_study_binds_to_real_functions(study, scale):
    modules = {"data": data, "model": models, "init": initialize, "objective": objectives, "optimizer": optimizers,
               "update": updates, "curriculum": curriculum, "diagnostics": diagnostics}  # fmt: skip
    runs = study.runs(scale)
    assert len({run.id for run in runs}) == len(runs)
    assert sum(len(job.runs) for job in study.jobs(scale)) == len(runs)
    for run in runs:
        for part, filled in spec.fill(run.parts).items():
            for one in filled if isinstance(filled, list) else [filled]:
                assert part == "training" or callable(getattr(modules[part], one["name"]))
    assert {options["kind"] for options in study.figures().values()} <= set(figures.__all__)
    assert {next(iter(claim["test"])) for claim in study.body.get("claims", [])} <= set(claims.__all__)


def test_defaults_read_from_the_source_are_those_in_force():
    assert signatures.fill("model", {"name": "mlp"}) == {
        "name": "mlp",
        "hidden": [100] * 4,
        "activation": "relu",
        "bias": True,
        "batch_norm": False,
    }
    assert signatures.fill("init", {"name": "gaussian", "std": 1}) == {"name": "gaussian", "std": 1}
    assert signatures.fill("training", {"steps": 1})["precision"] == "fp32"
