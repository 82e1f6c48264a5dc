"""Tables summarize the measures of a study beside the reported numbers."""

import io

import numpy as np
import pandas as pd
import pytest
from sample_results import ACCURACY, HIGHEST, numbers

from goodinit.cli.main import main
from goodinit.report import measures, tables

REPORTED = [
    {"where": {"init": "alpha", "model.activation": "relu"}, "metric": "loss", "at": 2, "value": 7.5,
     "source": "a book", "verified": True},
    {"where": {"init": "Mu", "model.activation": "tanh"}, "metric": "spread", "value": 0.25,
     "source": "an article, figure 1", "verified": False},
]  # fmt: skip


def test_table_describes_the_steps_of_a_measure(workspace):
    steps = [{"last": 2}, {"last": 9}, {"from": 2, "to": 3}, {"from": 3}, {"from": 3, "to": 9}]
    study = workspace.study(table=[{"metric": "loss", "at": at} for at in steps])
    table = tables.table(study, workspace.frame(study, numbers))
    assert table["at"].unique().tolist() == [
        "mean of last 2", "mean of last 4", "mean of steps 2 to 3", "mean from step 3"
    ]  # fmt: skip


def test_reported_values_are_in_the_rows_of_their_measure_and_condition(workspace):
    items = [{"metric": "loss", "at": 2}, {"metric": "loss"}, {"metric": "spread"}]
    study = workspace.study(table=[*items, {"metric": "loss", "at": {"last": 2}}], reported=REPORTED)
    table = tables.table(study, workspace.frame(study, numbers))
    assert table[["metric", "at"]].drop_duplicates().to_numpy().tolist() == [
        ["loss", "2"], ["loss", "last"], ["spread", "last"], ["loss", "mean of last 2"]
    ]  # fmt: skip
    assert len(table) == 6 * 3 + 6 * 3
    reported = table[table["reported"].notna()]
    assert (table[table["reported"].isna()][["source", "verified"]] == "").all(axis=None)
    loss = reported[reported["metric"] == "loss"]
    columns = ["init", "model.activation", "at", "reported", "source", "verified"]
    assert loss[columns].to_numpy().tolist() == [["alpha", "relu", "2", 7.5, "a book", "yes"]]
    assert loss["mean"].tolist() == [20 + 1 + 4 + 1]
    layers = reported[reported["metric"] == "spread"]
    assert layers["layer"].tolist() == [1, 2, 3]
    assert set(layers["verified"]) == {"no"}
    assert set(zip(layers["init"], layers["model.activation"], strict=True)) == {("Mu", "tanh")}


def test_table_leaves_out_steps_that_were_not_reached(workspace):
    study = workspace.study(table=[{"metric": "loss", "at": 1901}, {"metric": "loss", "at": 4}])
    frame = workspace.frame(study, numbers)
    assert set(tables.table(study, frame)["at"]) == {"4"}
    study = workspace.study(table=[{"metric": "loss", "at": 1901}])
    with pytest.raises(measures.NotRun, match="no measure"):
        tables.table(study, frame)


def test_table_of_the_best_trials_has_their_reported_values(workspace):
    items = [
        {"metric": "accuracy", "at": 1, "where": {"rank": [1, 2]}},
        {"metric": "optimizer.lr", "where": {"rank": 1}},
    ]
    origin = {"source": "slides", "verified": True}
    study, frame = workspace.trials(
        {"accuracy": ACCURACY},
        HIGHEST,
        table=[*items, {"metric": "optimizer.weight_decay"}],
        reported=[
            {"where": {"rank": 2}, "metric": "accuracy", "at": 1, "value": 0.5, **origin},
            {"where": {"rank": 1}, "metric": "optimizer.lr", "value": 0.25, **origin},
        ],
    )
    table = tables.table(study, frame)
    assert "trial" not in table
    assert table[["metric", "rank"]].to_numpy().tolist() == [
        ["accuracy", 1],
        ["accuracy", 2],
        ["optimizer.lr", 1],
        *[["optimizer.weight_decay", rank] for rank in (1, 2, 3, 4)],
    ]
    best = [study.draws("laptop", seed)[trial]["optimizer.lr"] for seed, trial in ((0, 2), (1, 3))]
    assert table["mean"].tolist()[:3] == pytest.approx([(4 + 8) / 2, (3 + 6) / 2, sum(best) / 2])
    assert table["n"].tolist() == [2] * 7
    assert table["reported"].tolist() == pytest.approx([np.nan, 0.5, 0.25, *[np.nan] * 4], nan_ok=True)
    assert table["source"].tolist() == ["", "slides", "slides", *[""] * 4]


def test_where_selects_rows_of_a_table(workspace):
    study = workspace.study(table=[{"metric": "loss", "where": {"init": ["Mu", "zeta"], "model.activation": "relu"}}])
    table = tables.table(study, workspace.frame(study, numbers))
    assert table[["model.activation", "init"]].to_numpy().tolist() == [["relu", "zeta"], ["relu", "Mu"]]
    study = workspace.study(table=[{"metric": "spread", "where": {"layer": 2}}])
    assert set(tables.table(study, workspace.frame(study, numbers))["layer"]) == {2}


def test_command_writes_the_same_table_twice(workspace, capsys):
    study = workspace.study(table=[{"metric": "loss", "at": 2}, {"metric": "spread"}], reported=REPORTED)
    workspace.fill(study, numbers)
    arguments = ["--scale", "laptop", "--configs", str(workspace.configs), "--results", str(workspace.results)]
    main(["table", "work/study", *arguments])
    file = workspace.results / "laptop" / "tables" / "work" / "study.csv"
    assert capsys.readouterr().out == f"{file}\n"
    first = file.read_bytes()
    file.unlink()
    main(["table", "work/study", *arguments])
    assert file.read_bytes() == first
    assert b"\r" not in first
    table = pd.read_csv(io.BytesIO(first))
    assert len(table) == 6 + 6 * 3
    row = table[table["reported"] == 7.5].iloc[0]
    assert [row["init"], row["metric"], row["n"], row["mean"], row["sd"]] == ["alpha", "loss", 3, 26, 1]


def test_a_study_without_records_names_the_command_that_makes_them(workspace, capsys):
    workspace.study()
    with pytest.raises(SystemExit) as caught:
        main(["table", "work/study", "--configs", str(workspace.configs), "--results", str(workspace.results)])
    assert caught.value.code == 2
    assert "goodinit train work/study --scale demo" in capsys.readouterr().err


def test_a_study_that_is_not_run_at_a_scale_is_skipped_unless_it_is_named(workspace, capsys):
    workspace.fill(workspace.study(), numbers)
    workspace.study("never", scales={"laptop": {"seeds": 0}})
    folders = ["--configs", str(workspace.configs), "--results", str(workspace.results), "--scale", "laptop"]
    main(["table", "work", *folders])
    assert capsys.readouterr().out.split() == [f"{workspace.results}/laptop/tables/work/study.csv"]
    with pytest.raises(SystemExit):
        main(["table", "work/never", *folders])
    error = capsys.readouterr().err
    assert "work/never: no records at scale laptop" in error
    assert "its file has `seeds: 0` there" in error
