"""Plans name the runs that would answer claims without an answer, the cheapest first."""

import math

import numpy as np
import pytest
from sample_results import CONDITION_CLAIMS, CONDITION_REPORTED, CONDITIONS

from goodinit import records
from goodinit.cli.main import main
from goodinit.report import claims, planning
from goodinit.report.evidence import compare_with_bounds
from goodinit.report.inference import Mean

INCONCLUSIVE = CONDITION_CLAIMS[2:3]  # of three seeds


def _plan(workspace, study, frames, seconds=len):
    judged = {scale: claims.judged_claims(claims.judge(study, scale, frame)) for scale, frame in frames.items()}
    return planning.plan([study], judged, workspace.results, seconds)


def test_an_inconclusive_claim_asks_for_more_seeds(workspace):
    study, frame = workspace.conditions({"loss": CONDITIONS}, claims=INCONCLUSIVE)
    (plan,) = _plan(workspace, study, {"laptop": frame})
    needed = claims.judge(study, "laptop", frame)["runs_needed"][0]
    assert (plan.scale, plan.seeds, plan.runs) == ("laptop", needed, 3 * (needed - 3))
    assert plan.seconds == pytest.approx(plan.runs)  # training as given here; nothing else is recorded
    assert list(plan.claims) == ["b-beats-c"]


def test_recorded_initialization_is_a_part_of_the_cost(workspace):
    study, frame = workspace.conditions({"loss": CONDITIONS}, claims=INCONCLUSIVE)
    workspace.fill(study, _numbers, seconds={"initializing": 10.0, "training": 99.0})
    (plan,) = _plan(workspace, study, {"laptop": frame})
    assert plan.seconds == pytest.approx(plan.runs * 11)


def _numbers(run):
    return {"loss": records.Series(np.array([1]), np.array(CONDITIONS[run.labels["condition"]][run.seed]))}


def test_a_decided_claim_asks_for_nothing(workspace):
    study, frame = workspace.conditions(
        {"loss": CONDITIONS}, claims=[*CONDITION_CLAIMS[:2], *CONDITION_CLAIMS[5:]], reported=CONDITION_REPORTED
    )
    assert _plan(workspace, study, {"laptop": frame}) == []


def test_one_seed_asks_for_a_pilot_study(workspace):
    study, frame = workspace.conditions(
        {"loss": {label: values[:1] for label, values in CONDITIONS.items()}}, claims=INCONCLUSIVE
    )
    (plan,) = _plan(workspace, study, {"laptop": frame})
    assert plan.seeds == planning.PILOT_SEEDS


def test_a_claim_that_was_not_run_asks_for_the_missing_runs_of_the_cheapest_scale(workspace):
    scales = {"laptop": {"seeds": 0}, "overnight": {"seeds": 2}, "paper": {"seeds": 5}}
    study = workspace.conditions({"loss": CONDITIONS}, "demo", claims=INCONCLUSIVE, scales=scales)[0]
    (plan,) = _plan(workspace, study, {"laptop": None, "overnight": None, "paper": None})
    assert (plan.scale, plan.seeds, plan.runs, plan.seconds) == ("overnight", None, 6, 6)


def test_runs_that_were_judged_at_another_scale_are_not_asked_for_again(workspace):
    study, frame = workspace.conditions({"loss": CONDITIONS}, claims=INCONCLUSIVE)
    plans = _plan(workspace, study, {"laptop": frame, "paper": None})
    assert [plan.scale for plan in plans] == ["laptop"]


def test_a_scale_without_the_claims_conditions_or_step_is_of_no_use(workspace):
    scales = {"laptop": {"conditions.C": None}, "overnight": {"training.steps": 3}, "paper": {"training.steps": 4}}
    late = INCONCLUSIVE[0]["test"]["beats"] | {"at": 4}
    claim = INCONCLUSIVE[0] | {"test": {"beats": late}}
    study, _ = workspace.conditions({"loss": CONDITIONS}, "paper", claims=[claim], scales=scales)
    for file in workspace.files(study, "paper"):
        file.unlink()
    (plan,) = _plan(workspace, study, {"laptop": None, "overnight": None, "paper": None})
    assert plan.scale == "paper"


@pytest.mark.parametrize(
    "at", [{"at": 4}, {"at": {"from": 4}}, {"at": {"from": 2, "to": 4}}, {"at": 1, "denominator_at": 4}]
)
def test_a_scale_is_of_use_if_it_reaches_the_last_step_that_a_claim_requires(workspace, at):
    sides = {"numerator": {"condition": "A"}, "denominator": {"condition": "B"}}
    claim = INCONCLUSIVE[0] | {"test": {"ratio": {"metric": "loss", **sides, **at, "above": 1}}}
    scales = {"laptop": {"training.steps": 2}, "overnight": {"training.steps": 3}, "paper": {"training.steps": 4}}
    study, _ = workspace.conditions({"loss": CONDITIONS}, "paper", claims=[claim], scales=scales)
    for file in workspace.files(study, "paper"):
        file.unlink()
    (plan,) = _plan(workspace, study, {"laptop": None, "overnight": None, "paper": None})
    assert plan.scale == "paper"


def test_only_the_largest_scale_that_was_run_counts(workspace):
    scales = {"laptop": {}, "overnight": {"training.steps": 2}}
    study, frame = workspace.conditions({"loss": CONDITIONS}, claims=INCONCLUSIVE, scales=scales)
    (open_claim,) = claims.judged_claims(claims.judge(study, "laptop", frame))
    answered = open_claim._replace(verdict="indicative: for")

    def planned_scales(laptop, overnight):
        judged = {"laptop": [laptop], "overnight": [overnight._replace(scale="overnight")]}
        return [plan.scale for plan in planning.plan([study], judged, workspace.results, len)]

    workspace.fill(study, _numbers, "overnight")
    assert planned_scales(open_claim, open_claim) == ["overnight"]
    assert planned_scales(answered, open_claim) == ["overnight"]
    assert planned_scales(open_claim, answered) == []
    assert planned_scales(answered, open_claim._replace(verdict="not run", n=0)) == []


def test_initialization_costs_at_a_scale_without_records_what_it_costs_at_another(workspace):
    scales = {"laptop": {}, "overnight": {"training.steps": 2, "seeds": 4}}
    study, _ = workspace.conditions({"loss": CONDITIONS}, claims=INCONCLUSIVE, scales=scales)
    workspace.fill(study, _numbers, seconds={"initializing": 10.0, "training": 99.0})
    (plan,) = _plan(workspace, study, {"overnight": None})
    assert (plan.runs, plan.seconds) == (12, pytest.approx(12 * 11))


def test_plans_are_ordered_by_cost_per_claim_and_kept_within_a_budget(workspace):
    study, frame = workspace.conditions({"loss": CONDITIONS}, claims=INCONCLUSIVE)
    (plan,) = _plan(workspace, study, {"laptop": frame})
    plans = [plan._replace(seconds=seconds) for seconds in (1.0, 50.0, 2.0)]
    assert [item.seconds for item in planning.within_budget(plans, 4)] == [1, 2]


def test_after_the_seeds_asked_for_nine_of_ten_studies_decide(workspace):
    generator, decided = np.random.default_rng(7), []
    study, _ = workspace.conditions({"loss": CONDITIONS}, claims=INCONCLUSIVE)
    row = claims.judged_claims(claims.judge(study, "laptop", None))[0]
    for _ in range(120):
        pilot = generator.normal(size=3)
        pilot += 0.8 - pilot.mean()
        evidence = compare_with_bounds(Mean.of(pilot), above=0)
        if evidence.runs_needed is None:
            continue
        judged = row._replace(verdict="inconclusive", n=3, runs_needed=evidence.runs_needed, p_value=evidence.p_value)
        (plan,) = planning.plan([study], {"laptop": [judged]}, workspace.results, len)
        seeds = np.concatenate([pilot, generator.normal(0.8, size=plan.seeds - 3)])
        decided.append(compare_with_bounds(Mean.of(seeds), above=0).decision == "replicated")
    assert len(decided) > 60
    assert np.mean(decided) > 0.9


def test_command_prints_what_to_run(workspace, capsys):
    workspace.conditions({"loss": CONDITIONS}, claims=INCONCLUSIVE)
    main(["next", "--rate", "1", "--configs", str(workspace.configs), "--results", str(workspace.results)])
    output = capsys.readouterr().out
    assert "b-beats-c: inconclusive with 3 seeds, p = 0.4" in output
    assert "  goodinit train work/study --scale laptop\n" in output
    assert "1 TFLOP/s (as given)" in output


@pytest.mark.parametrize(("option", "value"), [("--hours", "0"), ("--rate", "-1"), ("--hours", str(math.nan))])
def test_a_budget_or_rate_that_is_not_positive_is_an_error(workspace, capsys, option, value):
    workspace.study()
    with pytest.raises(SystemExit, match="2"):
        main(["next", option, value, "--configs", str(workspace.configs), "--results", str(workspace.results)])
    assert "must be more than 0 and finite" in capsys.readouterr().err
