"""The command that estimates the cost of studies."""

import re

import pytest
from checkout import CONFIGS

from goodinit import studies
from goodinit.cli.main import main
from goodinit.training import timing


def _estimate(*arguments):
    main(["estimate", "--configs", str(CONFIGS), *arguments])


def test_a_timed_estimate_says_so(capsys, monkeypatch):
    monkeypatch.setattr(timing, "measure_seconds", lambda runs, device, threads: 1.5 * len(runs))
    runs = studies.find(CONFIGS, "xavier_he/mnist").runs("demo")
    _estimate("xavier_he/mnist", "--timed", "--device", "cpu")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "demo scale, a few updates of each model timed on cpu, one thread"
    assert f"{1.5 * len(runs)} seconds" in lines[2]
    with pytest.raises(SystemExit):
        _estimate("xavier_he/mnist", "--timed", "--rate", "2")
    assert "give one of them" in capsys.readouterr().err


def test_runs_that_studies_share_are_counted_once(capsys):
    _estimate("textbook/optimizers_mnist", "xavier_he/mnist", "--scale", "paper", "--rate", "20")
    first, second, both = (line.split() for line in capsys.readouterr().out.splitlines()[2:])
    ids = [{run.id for run in studies.find(CONFIGS, line[0]).runs("paper")} for line in (first, second)]
    assert ids[0] & ids[1]
    assert int(both[4]) == len(ids[0] | ids[1])
    assert float(both[5]) <= float(first[2]) + float(second[2])


def test_a_batch_too_small_for_a_model_is_a_dash(capsys):
    _estimate("semisync/table1", "--scale", "laptop", "--rate", "20")
    assert re.search(r"MiB, -, \d+, \d+$", capsys.readouterr().out.splitlines()[2])


def test_the_command_prints_a_line_for_each_study(capsys):
    _estimate("textbook", "--scale", "paper", "--rate", "20")
    lines = capsys.readouterr().out.splitlines()
    assert "20 TFLOP/s (as given)" in lines[0]
    assert [line.split()[0] for line in lines[2:-1]] == [
        f"textbook/{study.name}" for study in studies.load_all(CONFIGS, ["textbook"])
    ]
    assert lines[-1].startswith("all")
