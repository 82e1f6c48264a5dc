"""Claims get a verdict from the evidence, the number of seeds and the scale."""

import math

import numpy as np
import pandas as pd
import pytest
from sample_results import ARM_CLAIMS, ARM_REPORTED, ARMS, PAIR, A, judged_arms

from goodinit.cli.main import main
from goodinit.errors import InputError
from goodinit.report import claims

FOR, AGAINST = "indicative: for", "indicative: against"
IDS = [claim["id"] for claim in ARM_CLAIMS]
FEW = {"A": [1.0, 1.1, 1.2], "B": [2.0, 2.1, 2.2], "C": [9.0, 9.1, 9.2]}
BEST_OF_ALL = {
    "id": "a-is-best",
    "says": "A is best.",
    "source": "page 1",
    "test": {"ranks": PAIR | {"order": [{"condition": "A"}, [{"condition": "B"}, {"condition": "C"}]]}},
}


@pytest.mark.parametrize(
    ("scale", "verdicts"),
    [
        ("demo", [FOR, AGAINST, "inconclusive", FOR, "not run", FOR]),
        ("laptop", ["replicated", "contradicted", "inconclusive", FOR, "not run", "replicated"]),
        ("paper", ["replicated", "contradicted", "inconclusive", "replicated", "not run", "replicated"]),
    ],
)
def test_verdicts_are_indicative_below_the_scale_that_a_claim_needs(house, scale, verdicts):
    _, judged = judged_arms(house, scale)
    assert dict(zip(judged["claim"], judged["verdict"], strict=True)) == dict(zip(IDS, verdicts, strict=True))
    assert set(judged["scale"]) == {scale}
    assert judged["n"].tolist() == [3, 3, 3, 3, 0, 3]


def test_every_verdict_has_a_name_in_the_list():
    assert claims.VERDICTS == ("replicated", "contradicted", "inconclusive", FOR, AGAINST, "not run")


def test_rows_hold_the_claim_the_reported_number_and_the_evidence(house):
    judged = judged_arms(house)[1].set_index("claim")
    assert judged["says"].tolist() == [claim["says"] for claim in ARM_CLAIMS]
    assert judged["test"].tolist() == ["within", "within", "beats", "ranks", "within", "agrees"]
    assert set(judged["work"]) == {"work"}
    assert judged.loc["a-is-low", ["estimate", "low", "high"]].tolist() == pytest.approx([1.1, 1.0, 1.2])
    assert math.isnan(judged.loc["a-is-low", "reported"])
    assert judged.loc["as-reported", ["reported", "verified"]].tolist() == [1.15, "no"]
    assert judged.loc["a-is-high", "note"] == "According to the source."
    assert math.isnan(judged.loc["later", "estimate"])


def test_rows_of_the_frame_are_judged_claims(house):
    _, judged = judged_arms(house)
    rows = claims.judged_claims(judged)
    assert [row.claim for row in rows] == IDS
    assert pd.DataFrame(rows, columns=claims.JudgedClaim._fields).equals(judged)


def _judge_few(house, seeds, scale, **changes):
    arms = {label: [[value] for value in values[:seeds]] for label, values in FEW.items()}
    study, frame = house.arms({"loss": arms}, scale, claims=ARM_CLAIMS, reported=ARM_REPORTED, **changes)
    return claims.judge(study, scale, frame).set_index("claim")


@pytest.mark.parametrize("scale", ["demo", "laptop"])
@pytest.mark.parametrize("seeds", [1, 2])
def test_fewer_than_three_seeds_are_inconclusive(house, seeds, scale):
    judged = _judge_few(house, seeds, scale).drop(index="later")
    assert set(judged["verdict"]) == {"inconclusive"}
    assert set(judged["n"]) == {seeds}
    assert judged.loc["a-is-low", "estimate"] == pytest.approx(np.mean(FEW["A"][:seeds]))


@pytest.mark.parametrize(
    ("scale", "verdicts"),
    [
        ("demo", [FOR, AGAINST, FOR, FOR]),
        ("laptop", ["replicated", "contradicted", "replicated", FOR]),
        ("paper", ["replicated", "contradicted", "replicated", "replicated"]),
    ],
)
def test_one_run_suffices_if_runs_are_deterministic(house, scale, verdicts):
    judged = _judge_few(house, 1, scale, deterministic=True)
    ids = ["a-is-low", "a-is-high", "b-beats-c", "in-order"]
    assert judged.loc[ids, "verdict"].tolist() == verdicts
    for claim, value in zip(ids, [1, 1, 7, 1], strict=True):
        assert judged.loc[claim, ["estimate", "low", "high", "n"]].tolist() == [value, value, value, 1]
    assert judged.loc["as-reported", "verdict"] == "inconclusive"  # one value has no spread


def test_claims_of_a_study_that_was_not_run(house):
    study, _ = judged_arms(house)
    judged = claims.judge(study, "laptop", None)
    assert set(judged["verdict"]) == {"not run"}
    assert set(judged["n"]) == {0}


def test_claims_about_conditions_that_were_not_run(house):
    study, frame = house.arms({"loss": ARMS}, claims=ARM_CLAIMS, reported=ARM_REPORTED)
    verdicts = claims.judge(study, "paper", frame[frame["condition"] != "B"]).set_index("claim")["verdict"]
    assert verdicts[["a-is-low", "b-beats-c", "in-order"]].tolist() == ["replicated", "not run", "not run"]


def test_an_order_with_a_condition_that_was_not_run(house):
    study, frame = house.arms({"loss": ARMS}, claims=[BEST_OF_ALL])
    assert claims.judge(study, "laptop", frame)["verdict"].tolist() != ["not run"]
    assert claims.judge(study, "laptop", frame[frame["condition"] != "C"])["verdict"].tolist() == ["not run"]


def test_an_order_with_an_unknown_condition_is_an_error(house):
    order = [{"condition": "A"}, [{"condition": "B"}, {"condition": "D"}]]
    claim = BEST_OF_ALL | {"test": {"ranks": PAIR | {"order": order}}}
    with pytest.raises(InputError, match=r"claims\.a-is-best\.order\.condition: unknown value 'D'"):
        house.arms({"loss": ARMS}, claims=[claim])


def test_a_missing_reported_number_is_an_error(house):
    with pytest.raises(InputError, match=r"claims\.as-reported: no reported value"):
        judged_arms(house, reported=ARM_REPORTED[:1])


def test_a_metric_that_was_not_recorded_is_an_error(house):
    claim = {**ARM_CLAIMS[0], "test": {"within": A | {"metric": "los", "below": 2}}}
    with pytest.raises(InputError, match=r"a-is-low: .*'los'.* did you mean loss"):
        judged_arms(house, claims=[claim])


def test_command_writes_the_same_verdicts_twice(house, capsys):
    house.arms({"loss": ARMS}, claims=ARM_CLAIMS, reported=ARM_REPORTED)
    arguments = ["--scale", "laptop", "--configs", str(house.configs), "--results", str(house.results)]
    arguments += ["--figures", str(house.figures)]
    written = []
    for _ in range(2):
        main(["claims", *arguments])
        assert "2 replicated" in capsys.readouterr().out
        files = [house.results / "laptop" / name for name in ("claims.csv", "claims.md")]
        written.append([file.read_bytes() for file in files])
        table = pd.read_csv(files[0])
        for file in files:
            file.unlink()
    assert written[0] == written[1]
    assert table["claim"].tolist() == IDS
    assert table["verdict"][1] == "contradicted"
