"""Claims get a verdict from the evidence, the number of seeds and the scale."""

import math

import pandas as pd
import pytest
import sample_results
from sample_results import (
    ACCURACY,
    CONDITION_CLAIMS,
    CONDITION_REPORTED,
    CONDITIONS,
    HIGHEST,
    PAIR,
    A,
    judged_conditions,
)

from goodinit.cli.main import main
from goodinit.errors import InputError
from goodinit.report import claims, tables

HALF = 4.302652729911275 * 0.1 / math.sqrt(3)  # Student's t with 2 degrees of freedom, of 1, 1.1 and 1.2
FOR, AGAINST = "indicative: for", "indicative: against"
IDS = [claim["id"] for claim in CONDITION_CLAIMS]
FEW = {"A": [1.0, 1.1, 1.2], "B": [2.0, 2.1, 2.2], "C": [9.0, 9.1, 9.2]}
BEST_OF_ALL = {
    "id": "a-is-best",
    "says": "A is best.",
    "source": "page 1",
    "test": {"ranks": PAIR | {"order": [{"condition": "A"}, [{"condition": "B"}, {"condition": "C"}]]}},
}


VERDICTS_OF_ARMS = ["replicated", "contradicted", "inconclusive", "yes", "not run", "unverified", "replicated"]


def test_verdicts_at_the_published_protocol(workspace):
    _, judged = judged_conditions(workspace)
    assert dict(zip(judged["claim"], judged["verdict"], strict=True)) == dict(zip(IDS, VERDICTS_OF_ARMS, strict=True))
    assert judged["n"].tolist() == [3, 3, 3, 3, 0, 3, 3]
    assert set(judged["differences"]) == {""}


def test_verdicts_are_indicative_where_the_protocol_differs(workspace):
    _, judged = judged_conditions(workspace, scales={"laptop": {"training.batch_size": 3}})
    assert judged["verdict"].tolist() == [FOR, AGAINST, "inconclusive", "indicative: yes", "not run", "unverified", FOR]
    assert set(judged.loc[judged["n"] > 0, "differences"]) == {"training.batch_size: 3 instead of 128"}


def test_verdicts_are_indicative_where_the_source_gives_no_protocol(workspace):
    source = {"work": "work", "where": "here", "protocol": "ours"}
    _, judged = judged_conditions(workspace, source=source)
    assert judged["verdict"].tolist() == [FOR, AGAINST, "inconclusive", "indicative: yes", "not run", "unverified", FOR]
    assert set(judged.loc[judged["n"] > 0, "differences"]) == {"the source gives no protocol; this one is ours"}


@pytest.mark.parametrize(
    ("changes", "needs", "verdict", "needed"),
    [
        ({}, "against", "contradicted", ""),
        ({"training.batch_size": 3}, "against", AGAINST, ""),
        ({"training.steps": 3}, "for", AGAINST, ""),
        ({"training.steps": 3}, "against", "inconclusive", "the published number of updates is needed"),
    ],
)
def test_no_decision_that_needs_full_training_after_fewer_updates(workspace, changes, needs, verdict, needed):
    a_is_high = CONDITION_CLAIMS[1] | {"needs_full_training": needs}
    _, judged = judged_conditions(workspace, scales={"laptop": changes}, claims=[a_is_high], reported=[])
    (row,) = claims.judged_claims(claims.mark_holm(judged))
    assert (row.verdict, row.needed, row.holm) == (verdict, needed, "" if needed else "yes")
    assert row.estimate == pytest.approx(1.1)


def test_a_difference_in_other_conditions_does_not_matter(workspace):
    changed = {"B": 7.0, "C": 8.0}
    conditions = {f"conditions.{label}": {"init": "he_normal", "optimizer.lr": lr} for label, lr in changed.items()}
    _, judged = judged_conditions(workspace, scales={"laptop": conditions})
    verdicts = dict(zip(IDS, VERDICTS_OF_ARMS, strict=True)) | {"in-order": "indicative: yes", "as-checked": FOR}
    assert dict(zip(judged["claim"], judged["verdict"], strict=True)) == verdicts


def test_every_verdict_has_a_name_in_a_list():
    named = ("replicated", FOR, AGAINST, "contradicted", "inconclusive", "unverified", "not run")
    assert named == claims.VERDICTS
    assert claims.ANSWERS == ("yes", "indicative: yes", "indicative: no", "no", "open", "not run")


def test_rows_hold_the_claim_the_reported_number_and_the_evidence(workspace):
    judged = judged_conditions(workspace)[1].set_index("claim")
    assert judged["says"].tolist() == [claim["says"] for claim in CONDITION_CLAIMS]
    assert judged["test"].tolist() == ["within", "within", "beats", "ranks", "within", "agrees", "agrees"]
    assert set(judged["work"]) == {"work"}
    assert judged.loc["a-is-low", ["estimate", "low", "high"]].tolist() == pytest.approx([1.1, 1.1 - HALF, 1.1 + HALF])
    assert math.isnan(judged.loc["a-is-low", "reported"])
    assert judged.loc["as-reported", ["reported", "verified", "within"]].tolist() == [1.15, "no", 0.5]
    assert judged.loc["as-checked", ["reported", "verified"]].tolist() == [2.1, "yes"]
    assert judged.loc["b-beats-c", "decided_by"] == ""
    assert judged.loc["b-beats-c", "runs_needed"] > 3
    assert judged.loc["a-is-low", ["runs_needed", "supports", "kind"]].tolist() == [0, "yes", "claim"]
    assert judged.loc["a-is-high", "supports"] == "no"
    assert judged.loc["a-is-high", "note"] == "According to the source."
    assert math.isnan(judged.loc["later", "estimate"])


def test_rows_of_the_frame_are_judged_claims(workspace):
    _, judged = judged_conditions(workspace)
    rows = claims.judged_claims(judged)
    assert [row.claim for row in rows] == IDS
    assert pd.DataFrame(rows, columns=claims.JudgedClaim._fields).equals(judged)


def _judge_few(workspace, seeds, scale, **changes):
    losses = {label: [[value] for value in values[:seeds]] for label, values in FEW.items()}
    study, frame = workspace.conditions(
        {"loss": losses}, scale, claims=CONDITION_CLAIMS, reported=CONDITION_REPORTED, **changes
    )
    return claims.judge(study, scale, frame).set_index("claim")


def test_one_seed_is_inconclusive(workspace):
    judged = _judge_few(workspace, 1, "laptop").drop(index="later")
    assert judged["verdict"].tolist() == ["inconclusive"] * 3 + ["open", "unverified", "inconclusive"]
    assert judged.loc["a-is-low", ["estimate", "low", "high", "n"]].tolist() == [1, -math.inf, math.inf, 1]


def test_one_run_suffices_if_runs_are_deterministic(workspace):
    judged = _judge_few(workspace, 1, "laptop", deterministic=True)
    ids = ["a-is-low", "a-is-high", "b-beats-c", "in-order"]
    assert judged.loc[ids, "verdict"].tolist() == ["replicated", "contradicted", "replicated", "yes"]
    for claim, value in zip(ids, [1, 1, 7, 1], strict=True):
        assert judged.loc[claim, ["estimate", "low", "high", "n"]].tolist() == [value, value, value, 1]


@pytest.mark.parametrize(
    ("p_values", "survive"),
    [
        ([0.01, 0.02, 0.04], ["yes", "yes", "yes"]),  # 3 x 0.01, 2 x 0.02, 1 x 0.04
        ([0.04, 0.01, 0.03], ["no", "yes", "no"]),  # 2 x 0.03 is too large, and what follows does not survive either
        ([0.02, 0.02, 0.02], ["no", "no", "no"]),
        ([0.01, 0.5, 0.03], ["yes", "", "no"]),  # undecided claims count, but survive nothing
        ([0.001, math.nan, 0.04], ["yes", "", "yes"]),  # claims that were not run do not count
    ],
)
def test_holms_correction_within_a_work(workspace, p_values, survive):
    rows = judged_conditions(workspace)[1][:3].assign(p_value=p_values, verdict="replicated")
    other = rows.assign(work="other", p_value=0.04)[:1]
    marked = claims.mark_holm(pd.concat([rows, other], ignore_index=True))
    assert marked["holm"].tolist() == [*survive, "yes"]


def test_claims_of_a_study_that_was_not_run(workspace):
    study, _ = judged_conditions(workspace)
    judged = claims.judge(study, "laptop", None)
    assert set(judged["verdict"]) == {"not run"}
    assert set(judged["n"]) == {0}


def test_claims_about_conditions_that_were_not_run(workspace):
    study, frame = workspace.conditions({"loss": CONDITIONS}, claims=CONDITION_CLAIMS, reported=CONDITION_REPORTED)
    verdicts = claims.judge(study, "paper", frame[frame["condition"] != "B"]).set_index("claim")["verdict"]
    assert verdicts[["a-is-low", "b-beats-c", "in-order"]].tolist() == ["replicated", "not run", "not run"]


def test_each_label_that_a_claim_lists_must_have_records(workspace):
    claim = CONDITION_CLAIMS[0] | {"test": {"within": A | {"where": {"condition": ["A", "B"]}, "below": 9}}}
    study, frame = workspace.conditions({"loss": CONDITIONS}, claims=[claim])
    assert claims.judge(study, "laptop", frame)["verdict"].tolist() == ["replicated"]
    assert claims.judge(study, "laptop", frame[frame["condition"] != "B"])["verdict"].tolist() == ["not run"]


def test_each_condition_that_a_claim_selects_without_naming_it_must_have_records(workspace):
    claim = CONDITION_CLAIMS[0] | {"test": {"within": {"metric": "loss", "below": 9}}}
    study, frame = workspace.conditions({"loss": CONDITIONS}, claims=[claim])
    assert claims.judge(study, "laptop", frame)["verdict"].tolist() == ["replicated"]
    partial = frame[frame["condition"] != "B"]
    partial.attrs["complete"] = False
    assert claims.judge(study, "laptop", partial)["verdict"].tolist() == ["not run"]


def test_the_best_trials_are_not_judged_until_all_trials_have_records(workspace):
    """The best of some trials are not the best of all."""
    claim = CONDITION_CLAIMS[0] | {"test": {"within": {"metric": "accuracy", "where": {"rank": 1}, "below": 99}}}
    study, frame = workspace.trials({"accuracy": ACCURACY}, HIGHEST, claims=[claim])
    assert claims.judge(study, "laptop", frame)["verdict"].tolist() == ["replicated"]
    partial = frame[(frame["trial"] != 2) | (frame["seed"] == 0)]  # each trial still has a record
    partial.attrs["complete"] = False
    assert claims.judge(study, "laptop", partial)["verdict"].tolist() == ["not run"]


def test_an_order_with_a_condition_that_was_not_run(workspace):
    study, frame = workspace.conditions({"loss": CONDITIONS}, claims=[BEST_OF_ALL])
    assert claims.judge(study, "laptop", frame)["verdict"].tolist() != ["not run"]
    assert claims.judge(study, "laptop", frame[frame["condition"] != "C"])["verdict"].tolist() == ["not run"]


def test_an_order_with_an_unknown_condition_is_an_error(workspace):
    order = [{"condition": "A"}, [{"condition": "B"}, {"condition": "D"}]]
    claim = BEST_OF_ALL | {"test": {"ranks": PAIR | {"order": order}}}
    with pytest.raises(InputError, match=r"claims\.a-is-best\.order\.condition: unknown value 'D'"):
        workspace.conditions({"loss": CONDITIONS}, claims=[claim])


def test_a_question_needs_a_verified_number(workspace):
    with pytest.raises(InputError, match=r"claims\.as-reported: a question needs a number that is verified"):
        judged_conditions(workspace, claims=[CONDITION_CLAIMS[5] | {"kind": "question"}])


def test_a_missing_reported_number_is_an_error(workspace):
    with pytest.raises(InputError, match=r"claims\.as-reported: no reported value"):
        judged_conditions(workspace, reported=CONDITION_REPORTED[:1])


def test_a_metric_that_was_not_recorded_is_an_error(workspace):
    claim = {**CONDITION_CLAIMS[0], "test": {"within": A | {"metric": "los", "below": 2}}}
    with pytest.raises(InputError, match=r"a-is-low: .*'los'.* did you mean loss"):
        judged_conditions(workspace, claims=[claim])


def test_command_writes_the_same_verdicts_twice(workspace, capsys):
    workspace.conditions({"loss": CONDITIONS}, claims=CONDITION_CLAIMS, reported=CONDITION_REPORTED)
    arguments = ["--scale", "laptop", "--configs", str(workspace.configs), "--results", str(workspace.results)]
    arguments += ["--figures", str(workspace.figures)]
    written = []
    for _ in range(2):
        main(["claims", *arguments])
        assert "2 replicated, 1 contradicted" in capsys.readouterr().out
        files = [workspace.results / "laptop" / name for name in ("claims.csv", "claims.md")]
        written.append([file.read_bytes() for file in files])
        table = pd.read_csv(files[0])
        for file in files:
            file.unlink()
    assert written[0] == written[1]
    assert table["claim"].tolist() == IDS
    assert table["verdict"][1] == "contradicted"


@pytest.mark.parametrize(
    ("changes", "is_error"),
    [({"training.evaluate_every": 2}, False), ({"training.steps": 3}, False), ({"training.precision": "tf32"}, True)],
)
def test_a_step_that_a_scale_does_not_record_is_not_run_only_if_it_is_observed_otherwise(workspace, changes, is_error):
    at_step_0 = CONDITION_CLAIMS[0] | {"test": {"within": A | {"at": 0, "below": 2}}}
    options = {"claims": [at_step_0], "reported": [], "table": [{"metric": "loss", "at": 0}, {"metric": "loss"}]}
    study, frame = workspace.conditions({"loss": CONDITIONS}, scales={"laptop": changes}, **options)
    if is_error:
        for function in (lambda: claims.judge(study, "laptop", frame), lambda: tables.table(study, frame)):
            with pytest.raises(InputError, match=r"'loss' is not recorded at step 0, but at 1"):
                function()
    else:
        assert claims.judge(study, "laptop", frame)["verdict"].tolist() == ["not run"]
        assert set(tables.table(study, frame)["at"]) == {"last"}


@pytest.mark.parametrize("at", [2, {"from": 1, "to": 2}])
def test_the_command_names_a_claim_about_a_step_that_is_not_recorded(workspace, capsys, at):
    test = {"within": {"metric": "accuracy", "at": at, "below": 9}}
    study = workspace.study(claims=[CONDITION_CLAIMS[0] | {"test": test}])
    workspace.fill(study, sample_results.numbers)
    folders = ["--scale", "laptop", "--configs", str(workspace.configs), "--results", str(workspace.results)]
    with pytest.raises(SystemExit, match="2"):
        main(["claims", *folders, "--figures", str(workspace.figures)])
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{study.path}: claims.a-is-low: at: 'accuracy' is not recorded at step" in line
    assert "but at 0 and 3: name steps that are recorded" in line
