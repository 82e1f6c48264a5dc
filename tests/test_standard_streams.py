"""Standard streams that are closed, full or broken: a training ends with its record, other commands with a status."""

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
def train(house, data_root):
    """Return a study of one tiny run, and the arguments of its training."""
    study = house.study(**TINY)
    places = ["--configs", str(house.configs), "--results", str(house.results), "--scale", "laptop"]
    return study, ["train", *places, "--data-root", str(data_root)], places


def _shell(words, redirected):
    """Run the command in a shell that redirects its streams; return its status and what reached either of them."""
    command = f'"$0" -m goodinit "$@" {redirected}'
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    command = ["bash", "-c", command, sys.executable, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, env=buffered)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    "redirected",
    [">&- 2>&- <&-", pytest.param("2>&1 > /dev/full | true; exit ${PIPESTATUS[0]}", marks=FULL)],
    ids=["closed", "full and broken"],
)
def test_a_training_ends_with_its_record(house, train, redirected):
    study, words, _ = train
    status, said = _shell(words, redirected)
    assert (status, said) == (0, "")
    (file,) = house.files(study)
    assert len(records.read(file)) == 1


@pytest.mark.parametrize(
    ("redirected", "status", "words"),
    [
        (">&-", 2, "output: Bad file descriptor"),
        (">&- 2>&- <&-", 2, ""),
        pytest.param("> /dev/full", 2, "output: No space left on device", marks=FULL),
        pytest.param("> /dev/full 2>&1", 2, "", marks=FULL),
        ("| true; exit ${PIPESTATUS[0]}", 1, ""),
        ("2>&-", 0, "work/study: A title"),
    ],
)
def test_other_commands_fail_without_a_traceback(train, redirected, status, words):
    found, said = _shell(["list", *train[2]], redirected)
    assert found == status
    assert words in said
    assert len(said.splitlines()) == (2 if status == 0 else bool(words))
    if "true" not in redirected and status:
        assert _shell(["--help"], redirected)[0] == status


class _Broken(io.StringIO):
    """A terminal that is gone."""

    def isatty(self):
        return True

    def write(self, text):
        raise OSError(errno.EIO, "gone")


class _Plain:
    """What takes text and offers nothing else."""

    def __init__(self):
        self.said = ""

    def write(self, text):
        self.said += text


def _closed():
    stream = io.StringIO()
    stream.close()
    return stream


@pytest.mark.parametrize("stream", [lambda: None, _closed, _Broken, _Plain, object])
def test_a_training_does_without_any_stream_of_python(house, train, monkeypatch, stream):
    study, words, places = train
    own = stream()
    monkeypatch.setattr(sys, "stderr", own)
    monkeypatch.setattr(sys, "stdout", stream())
    main(words)
    assert sys.stderr is own
    (file,) = house.files(study)
    assert len(records.read(file)) == 1
    assert not isinstance(own, _Plain) or f"{file} in" in own.said
    monkeypatch.setattr(sys, "stdout", _closed())
    with pytest.raises(SystemExit) as ended:
        main(["list", *places])
    assert ended.value.code == 2


def test_what_is_opened_later_is_no_standard_stream(tmp_path):
    code = f"""
import os, sys
from goodinit import standard_streams
standard_streams.open_closed()
file = open({str(tmp_path / "file")!r}, "w")
os.write(2, b"a library's words")
sys.exit(file.fileno() < 3 or not os.get_inheritable(2))
"""
    done = subprocess.run(["bash", "-c", '"$0" -c "$1" <&- >&- 2>&-', sys.executable, code], check=False)
    assert done.returncode == 0
    assert (tmp_path / "file").read_bytes() == b""


def test_whole_streams_are_left_as_they_are(capsys):
    before = sys.stdout, sys.stderr
    standard_streams.open_closed()
    with standard_streams.tolerant_stderr():
        print("words", file=sys.stderr)
        assert sys.stderr.encoding == before[1].encoding
    standard_streams.flush_stdout()
    assert (sys.stdout, sys.stderr) == before
    assert capsys.readouterr().err == "words\n"
