"""The command that estimates the cost of studies."""

import re

import pytest

from goodinit import studies
from goodinit.cli.main import main


def test_a_timed_estimate_says_so(capsys):
    main(["estimate", "xavier_he/mnist", "--timed"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "demo scale, a few updates of each model timed on cpu, one thread"
    assert float(re.search(r"([\d.]+) seconds", lines[2])[1]) > 0
    with pytest.raises(SystemExit):
        main(["estimate", "xavier_he/mnist", "--timed", "--rate", "2"])
    assert "give one of them" in capsys.readouterr().err


def test_runs_that_studies_share_are_counted_once(capsys):
    main(["estimate", "textbook/optimizers_mnist", "xavier_he/mnist", "--scale", "paper", "--rate", "20"])
    first, second, both = (line.split() for line in capsys.readouterr().out.splitlines()[2:])
    ids = [{run.id for run in studies.find("configs", line[0]).runs("paper")} for line in (first, second)]
    assert ids[0] & ids[1]
    assert int(both[4]) == len(ids[0] | ids[1])
    assert float(both[5]) <= float(first[2]) + float(second[2])


def test_a_batch_too_small_for_a_model_is_a_dash(capsys):
    main(["estimate", "semisync/table1", "--scale", "laptop", "--rate", "20"])
    assert re.search(r"MiB, -, \d+, \d+$", capsys.readouterr().out.splitlines()[2])


def test_the_command_prints_a_line_for_each_study(capsys):
    main(["estimate", "textbook", "--scale", "paper", "--rate", "20"])
    lines = capsys.readouterr().out.splitlines()
    assert "20 TFLOP/s (as given)" in lines[0]
    assert [line.split()[0] for line in lines[2:-1]] == [
        f"textbook/{study.name}" for study in studies.load_all("configs", ["textbook"])
    ]
    assert lines[-1].startswith("all")
