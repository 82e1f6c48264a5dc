"""Committed studies follow the protocols of their sources, and studies of the same runs share them."""

import pytest
from checkout import CONFIGS

from goodinit import studies


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


def test_the_narrowed_search_differs_from_the_first_in_its_ranges_only():
    first, narrowed = (
        studies.find(CONFIGS, f"textbook/{name}") for name in ("random_search", "random_search_narrowed")
    )
    runs = [study.runs("paper") for study in (first, narrowed)]
    assert [(run.labels, run.seed) for run in runs[0]] == [(run.labels, run.seed) for run in runs[1]]
    for run, other in zip(*runs, strict=True):
        changed = {"training": other.parts["training"] | {"evaluate_every": 4}, "optimizer": run.parts["optimizer"]}
        assert other.parts | changed == run.parts
        assert run.parts["optimizer"].keys() == other.parts["optimizer"].keys()
        assert 1e-8 <= other.parts["optimizer"]["weight_decay"] <= 1e-6
        assert 1e-3 <= other.parts["optimizer"]["lr"] <= 1e-2


@pytest.mark.parametrize("work", ["lsuv", "pdi", "semisync", "textbook", "xavier_he"])
def test_every_reported_number_is_beside_ours_in_a_table(work):
    for study in studies.load_all(CONFIGS, [work]):
        measures = [(measure.metric, measure.at) for measure in study.table]
        assert all((reported.metric, reported.at) in measures for reported in study.reported), study.full_name


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
