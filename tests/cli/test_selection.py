"""Commands that have nothing to do say why."""

import pytest
from mistakes import FILE, put
from sample_study import VALID_STUDY

import goodinit
from goodinit.cli.main import main


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with one study, which has no runs at overnight scale and no records."""
    monkeypatch.chdir(tmp_path)
    text = VALID_STUDY.replace("scales:\n", "scales:\n  overnight: {seeds: 0}\n")
    put(FILE, text.encode())(tmp_path, None, None)
    return tmp_path


def test_the_version_is_shown(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"goodinit {goodinit.__version__}\n"


def test_training_at_a_scale_without_runs_says_why(folder, capsys):
    main(["train", "work", "--device", "cpu", "--scale", "overnight"])
    error = capsys.readouterr().err
    assert "0 jobs, 0 of them recorded already" in error
    assert "no runs at overnight scale, where the files of work/study set seeds: 0; they have runs at demo, " in error


@pytest.mark.parametrize("command", ["table", "figure"])
def test_a_command_without_records_says_so(command, folder, capsys):
    main([command])
    output = capsys.readouterr()
    assert not output.out
    assert "no study has records at demo scale in results: see goodinit list --scale demo" in output.err


def test_studies_of_claims_are_not_in_the_help(capsys):
    with pytest.raises(SystemExit):
        main(["claims", "--help"])
    assert "studies" not in capsys.readouterr().out.partition("options:")[0].replace("all studies", "")
