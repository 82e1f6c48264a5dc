"""Closed, full and broken standard streams: training ends with its record, other commands with a status."""

import errno
import io
import os
import subprocess
import sys

import pytest

from goodinit import records, standard_streams
from goodinit.cli.main import main

TINY = {"fixed": {"data": "digits", "model": {"name": "mlp", "hidden": [4]}, "optimizer": {"name": "sgd", "lr": 0.1},
                  "init": "he_normal", "training": {"steps": 2}},
        "compare": {"model.activation": ["tanh"]}, "seeds": 1}  # fmt: skip
FULL = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full here")


@pytest.fixture
def train(workspace, data_root):
    """Return a study of one tiny run, the arguments of its training, and those of other commands."""
    study = workspace.study(**TINY)
    options = ["--configs", str(workspace.configs), "--results", str(workspace.results), "--scale", "laptop"]
    return study, ["train", "--device", "cpu", *options, "--data-root", str(data_root)], options


def _shell(arguments, redirection):
    """Run the command in a shell that redirects its streams; return its status and its remaining output."""
    command = ["bash", "-c", f'"$0" -m goodinit "$@" {redirection}', sys.executable, *arguments]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    process = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, env=environment)
    return process.returncode, process.stdout + process.stderr


@pytest.mark.parametrize(
    "redirection",
    [">&- 2>&- <&-", pytest.param("2>&1 > /dev/full | true; exit ${PIPESTATUS[0]}", marks=FULL)],
    ids=["closed", "full and broken"],
)
def test_training_ends_with_its_record(workspace, train, redirection):
    study, arguments, _ = train
    assert _shell(arguments, redirection) == (0, "")
    (file,) = workspace.files(study)
    assert len(records.read(file)) == 1


@pytest.mark.parametrize(
    ("redirection", "status", "text"),
    [
        (">&-", 2, "output: Bad file descriptor"),
        (">&- 2>&- <&-", 2, ""),
        pytest.param("> /dev/full", 2, "output: No space left on device", marks=FULL),
        pytest.param("> /dev/full 2>&1", 2, "", marks=FULL),
        ("| true; exit ${PIPESTATUS[0]}", 1, ""),
        ("2>&-", 0, "work/study: A title"),
    ],
)
def test_other_commands_fail_without_a_traceback(train, redirection, status, text):
    actual_status, output = _shell(["list", *train[2]], redirection)
    assert actual_status == status
    assert text in output
    assert len(output.splitlines()) == (2 if status == 0 else bool(text))
    if "true" not in redirection and status:
        assert _shell(["--help"], redirection)[0] == status


class _Broken(io.StringIO):
    """A terminal that is disconnected."""

    def isatty(self):
        return True

    def write(self, text):
        raise OSError(errno.EIO, "disconnected")


class _Plain:
    """An object with the method `write` only."""

    def __init__(self):
        self.text = ""

    def write(self, text):
        self.text += text


def _closed():
    stream = io.StringIO()
    stream.close()
    return stream


@pytest.mark.parametrize("stream", [lambda: None, _closed, _Broken, _Plain, object])
def test_training_needs_no_working_streams(workspace, train, monkeypatch, stream):
    study, arguments, options = train
    stderr = stream()
    monkeypatch.setattr(sys, "stderr", stderr)
    monkeypatch.setattr(sys, "stdout", stream())
    main(arguments)
    assert sys.stderr is stderr
    (file,) = workspace.files(study)
    assert len(records.read(file)) == 1
    assert not isinstance(stderr, _Plain) or f"{file} in" in stderr.text
    monkeypatch.setattr(sys, "stdout", _closed())
    with pytest.raises(SystemExit) as ended:
        main(["list", *options])
    assert ended.value.code == 2


def test_file_that_is_opened_later_does_not_replace_a_standard_stream(tmp_path):
    code = f"""
import os, sys
from goodinit import standard_streams
standard_streams.open_closed()
file = open({str(tmp_path / "file")!r}, "w")
os.write(2, b"output of a library")
sys.exit(file.fileno() < 3 or not os.get_inheritable(2))
"""
    process = subprocess.run(["bash", "-c", '"$0" -c "$1" <&- >&- 2>&-', sys.executable, code], check=False)
    assert process.returncode == 0
    assert (tmp_path / "file").read_bytes() == b""


def test_working_streams_are_not_changed(capsys):
    streams = sys.stdout, sys.stderr
    standard_streams.open_closed()
    with standard_streams.tolerant_stderr():
        print("text", file=sys.stderr)
        assert sys.stderr.encoding == streams[1].encoding
    standard_streams.flush_stdout()
    assert (sys.stdout, sys.stderr) == streams
    assert capsys.readouterr().err == "text\n"
