"""Whatever happens on the way, the results are those of a machine on which nothing happened.

`make test-faults` writes what was tried into docs/reliability.md.
"""

import contextlib
import functools
import http.server
import json
import multiprocessing
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from goodinit import records
from goodinit.cli.main import main
from goodinit.errors import InputError
from goodinit.records import storage

pytestmark = pytest.mark.slow

STUDY = """\
title: Größe, 猫
source: {work: work, where: here}
question: Why?
fixed:
  data: {name: digits, train_examples: 128, test_examples: 64}
  init: he_normal
  training: {steps: 40, batch_size: 16, evaluate_every: 10}
conditions:
  one: {model: {name: mlp, hidden: [32], dropout: 0.2}, optimizer: {name: adam, lr: 0.01}}
  other: {model: {name: mlp, hidden: [64, 64]}, optimizer: {name: momentum, lr: 0.1},
          update: semi_synchronous}
seeds: 3
pack: 6
table:
  - {metric: test_accuracy}
figures: {accuracy: {kind: curves, y: test_accuracy, hue: condition}}
claims:
  - {id: low, says: It is low., source: here, test: {within: {metric: loss, below: 9.0}}}
"""
PREPARE, TRAIN = ["prepare", "digits"], ["train", "--checkpoint-minutes", "0.00001"]
NUMBERS = [PREPARE, TRAIN, ["table"]]
EVERYTHING = [*NUMBERS, ["figure"], ["claims"]]
KILLS, TERMINATIONS = 50, 10

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["goodinit.training.jobs", "goodinit.report.build", "sklearn.datasets", "scipy.stats"])


class Tally:
    """How often each fault was tried, and survived: the results are right, or one line says what to do."""

    def __init__(self):
        self.counts = {}

    @contextlib.contextmanager
    def __call__(self, fault):
        tried, survived = self.counts.get(fault, (0, 0))
        self.counts[fault] = tried + 1, survived
        yield
        self.counts[fault] = tried + 1, survived + 1

    def page(self):
        """Return the table as a Markdown page."""
        lines = [
            "# Reliability",
            "",
            "What `make test-faults` did to a small study on its way from data to verdict. A case is survived when",
            "what is visible was whole at every moment, when the program went on or said in one line what is wrong and",
            "what to do, and when the same commands, given again, ended with the results of an undisturbed machine,",
            "bit by bit.",
            "",
            "| fault | cases tried | survived | lost |",
            "|---|---:|---:|---:|",
        ]
        lines += [f"| {fault} | {tried} | {right} | {tried - right} |" for fault, (tried, right) in self.counts.items()]
        return "\n".join([*lines, ""])


@pytest.fixture(scope="module")
def tally():
    counts = Tally()
    yield counts
    if page := os.environ.get("GOODINIT_RELIABILITY"):
        Path(page).write_text(counts.page(), encoding="utf-8")


def _do(folder, lines, prelude):
    """Do commands in a fresh process, with what it says in `said`."""
    os.chdir(folder)
    said = os.open("said", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(said, 1), os.dup2(said, 2)
    os.environ.pop("GOODINIT_DATA", None)
    prelude()
    for line in lines:
        main(line)


def _nothing():
    pass


def _start(folder, lines=NUMBERS, prelude=_nothing):
    (folder / "said").unlink(missing_ok=True)
    process = FORKS.Process(target=_do, args=(folder, lines, prelude))
    process.start()
    return process


def _said(folder):
    file = folder / "said"
    return file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""


def _finish(folder, lines=NUMBERS, prelude=_nothing):
    """Return the exit status and what was said."""
    process = _start(folder, lines, prelude)
    process.join(120)
    said = (folder / "said").read_text(encoding="utf-8")
    return process.exitcode, "\n".join(line for line in said.splitlines() if "Warning" not in line)


def _folder(folder):
    (folder / "configs" / "work").mkdir(parents=True)
    (folder / "configs" / "work" / "study.yaml").write_text(STUDY, encoding="utf-8")
    return folder


@pytest.fixture
def folder(tmp_path):
    return _folder(tmp_path / "project")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Return a folder in which everything was done, and the seconds that it took."""
    folder = _folder(tmp_path_factory.mktemp("undisturbed") / "project")
    _finish(folder, [["list"]])  # the first process waits for everything to be imported
    start = time.perf_counter()
    assert _finish(folder, EVERYTHING)[0] == 0, (folder / "said").read_text()
    return folder, time.perf_counter() - start


def _visible(folder):
    return {
        file.relative_to(folder).as_posix(): file
        for kind in ("results", "figures", "data")
        for file in (folder / kind).rglob("*")
        if file.is_file() and not file.name.startswith(".")
    }


def _assert_whole(folder, undisturbed):
    """What can be seen is what there is in the end: records can be read, everything else has its last byte."""
    for name, file in _visible(folder).items():
        if "/runs/" in name and file.suffix == ".json":
            records.read(file)
        else:
            assert file.read_bytes() == (undisturbed[0] / name).read_bytes(), name


def _assert_the_same(folder, undisturbed, everything=False):
    expected = _visible(undisturbed[0])
    if not everything:
        drawn = ("figures/", "results/demo/claims", "results/demo/README")
        expected = {name: file for name, file in expected.items() if not name.startswith(drawn)}
    assert _visible(folder).keys() == expected.keys()
    _assert_whole(folder, undisturbed)
    hidden = [file.name for kind in ("results", "figures") for file in (folder / kind).rglob(".*")]
    assert [name for name in hidden if not name.endswith(".part")] == []


def _assert_one_line(said, *words):
    lines = [line for line in said.splitlines() if line.startswith("goodinit: error: ")]
    assert len(lines) == 1, said
    assert "Traceback" not in said
    assert all(word in lines[0] for word in words), lines[0]


def test_killed_at_any_moment(folder, undisturbed, tally):
    """Prepared, trained, drawn: killed again and again, and begun anew where it was through."""
    moments = random.Random(0)
    killed = 0
    while killed < KILLS:
        process = _start(folder, EVERYTHING)
        process.join(moments.uniform(0.02, undisturbed[1]))
        if process.exitcode is None:
            with tally("killed (SIGKILL) while preparing, training, or writing records, tables and figures"):
                killed += 1
                process.kill()
                process.join()
                _assert_whole(folder, undisturbed)
        else:
            assert process.exitcode == 0
            _assert_the_same(folder, undisturbed, everything=True)
            for kind in ("results", "figures", "data"):
                shutil.rmtree(folder / kind)
    assert _finish(folder, EVERYTHING)[0] == 0
    _assert_the_same(folder, undisturbed, everything=True)


def test_asked_to_end_while_training(folder, undisturbed, tally):
    """As a cluster does before it takes a machine away."""
    assert _finish(folder, [PREPARE])[0] == 0
    moments = random.Random(1)
    asked = 0
    while asked < TERMINATIONS:
        process = _start(folder, [["train", "--checkpoint-minutes", "60"]])
        while process.exitcode is None and "recorded already" not in _said(folder):
            time.sleep(0.001)
        process.join(moments.uniform(0, 0.2))
        if process.exitcode is None:
            os.kill(process.pid, signal.SIGTERM)
            process.join(60)
        if process.exitcode == 128 + signal.SIGTERM:
            with tally("asked to end (SIGTERM) while training"):
                asked += 1
                assert "starts over" not in _said(folder)
                _assert_whole(folder, undisturbed)
        elif process.exitcode == 0:
            _assert_whole(folder, undisturbed)
            shutil.rmtree(folder / "results")
    assert _finish(folder)[0] == 0
    _assert_the_same(folder, undisturbed)


@pytest.fixture
def small_disk(tmp_path):
    """Return a function that mounts a folder of its own memory, of some size or read-only; or skip."""
    place = tmp_path / "disk"
    place.mkdir()

    def mount(options, again=False):
        command = ["mount", "-t", "tmpfs", "-o", f"remount,{options}" if again else options, "none", str(place)]
        if subprocess.run(command, check=False, capture_output=True).returncode:
            pytest.skip("no permission to mount a small disk")
        return place

    yield mount
    subprocess.run(["umount", str(place)], check=False, capture_output=True)


@pytest.mark.parametrize("kilobytes", [4, 8, 16, 24, 36])
def test_a_full_disk(folder, undisturbed, tally, small_disk, kilobytes):
    place = small_disk(f"size={kilobytes}k")
    (folder / "results").symlink_to(place, target_is_directory=True)
    with tally("disk full"):
        assert _finish(folder, [PREPARE])[0] == 0
        status, said = _finish(folder)
        assert status == 2
        _assert_one_line(said, "results/demo/", "No space left on device: check space and permissions")
        _assert_whole(folder, undisturbed)
        small_disk("size=64m", again=True)
        assert _finish(folder)[0] == 0
        _assert_the_same(folder, undisturbed)


def test_a_read_only_results_folder(folder, undisturbed, tally, small_disk):
    (folder / "results").symlink_to(small_disk("size=64m"), target_is_directory=True)
    for done in ([PREPARE], [PREPARE, TRAIN]):
        with tally("read-only results folder"):
            assert _finish(folder, done)[0] == 0
            small_disk("ro", again=True)
            status, said = _finish(folder)
            assert status == 2
            _assert_one_line(said, "results/demo", "Read-only file system: check space and permissions")
            small_disk("rw", again=True)
    assert _finish(folder)[0] == 0
    _assert_the_same(folder, undisturbed)


def _little_memory(megabytes):
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * os.sysconf("SC_PAGE_SIZE") + megabytes * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="no way to see this process's memory")
def test_out_of_memory(folder, undisturbed, tally):
    assert _finish(folder, [PREPARE])[0] == 0
    refused = 0
    for megabytes in (0, 1, 2, 4, 8, 12, 16, 24):
        with tally("a process out of memory"):
            status, said = _finish(folder, prelude=functools.partial(_little_memory, megabytes))
            assert status in (0, 2) or status < 0, said  # a library that ends the process leaves no one to speak
            if status == 2:
                refused += 1
                _assert_one_line(said, "memory ran out")
            _assert_whole(folder, undisturbed)
    assert refused
    assert _finish(folder)[0] == 0
    _assert_the_same(folder, undisturbed)


def _flip(content):
    return content[: len(content) // 2] + bytes([content[len(content) // 2] ^ 1]) + content[len(content) // 2 + 1 :]


DAMAGES = {
    "truncated": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "one bit flipped": _flip,
    "missing": None,
}


def _damage(file, damage):
    file.unlink() if damage is None else file.write_bytes(damage(file.read_bytes()))


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_data(folder, undisturbed, tally, damage):
    assert _finish(folder, [PREPARE])[0] == 0
    for name in sorted(file.name for file in (folder / "data" / "prepared" / "digits").iterdir()):
        with tally(f"a file of the data set {damage}"):
            _damage(folder / "data" / "prepared" / "digits" / name, DAMAGES[damage])
            status, said = _finish(folder)
            if status:
                assert status == 2, said
                _assert_one_line(said, "digits", "delete ")
                assert "results" not in {name.split("/")[0] for name in _visible(folder)}
                shutil.rmtree(folder / "data")
                assert _finish(folder)[0] == 0
            _assert_the_same(folder, undisturbed)
            shutil.rmtree(folder / "results")


class _BreaksOff(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "1000000")
        self.end_headers()
        self.wfile.write(bytes(1000))

    def log_message(self, *arguments):
        pass


def _mirror(address):
    from torchvision import datasets

    datasets.MNIST.mirrors = [address]
    datasets.CIFAR10.url = datasets.CIFAR100.url = f"{address}cifar.tar.gz"


def test_a_download_that_breaks_off(folder, tally):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _BreaksOff) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        prelude = functools.partial(_mirror, f"http://127.0.0.1:{server.server_port}/")
        for name in ("mnist", "cifar10", "cifar100") * 2:
            with tally("a download that breaks off"):
                status, said = _finish(folder, [["prepare", name]], prelude)
                assert status == 2, said
                lines = [line for line in said.splitlines() if line.startswith("goodinit: error: ")]
                assert len(lines) == 1, said
                assert "put the official file there" in lines[0] or "delete " in lines[0]
                assert not list((folder / "data").rglob("manifest.json"))
        server.shutdown()


def test_records_truncated_or_edited(folder, undisturbed, tally):
    assert _finish(folder)[0] == 0
    (text,) = (folder / "results" / "demo" / "runs").rglob("*.json")
    arrays = text.with_suffix(".npz")
    places = random.Random(2)
    for file in (text, arrays) * 20:
        before = file.read_bytes()
        place = places.randrange(len(before))
        for fault, content in (
            ("a record with one byte changed", before[:place] + bytes([before[place] ^ 4]) + before[place + 1 :]),
            ("a record truncated", before[:place]),
        ):
            with tally(fault):
                file.write_bytes(content)
                with pytest.raises(InputError, match=r"delete .* and train again") as refused:
                    records.read(text)
                assert "\n" not in str(refused.value)
                file.write_bytes(before)
    _assert_the_same(folder, undisturbed)


def test_a_record_of_other_code(folder, undisturbed, tally):
    assert _finish(folder)[0] == 0
    (file,) = (folder / "results" / "demo" / "runs").rglob("*.json")
    for option, value in (("momentum", 0.5), ("lr", 7.0), ("batch_size", 3), ("replacement", True), ("epsilon", 1.0)):
        with tally("a record of other code: another default"):
            text = json.loads(file.read_text())
            parts = [part for run in text["runs"] for part in run["filled"].values() if option in part]
            assert parts
            for part in parts:
                part[option] = value
            file.write_text(json.dumps(text | {"sha256": storage.checksum(text)}))
            status, said = _finish(folder, [TRAIN])
            assert status == 2
            _assert_one_line(said, f".{option} was {value}", "delete the record and train again")
            for one in (file, file.with_suffix(".npz")):
                one.unlink()
            assert _finish(folder)[0] == 0
            _assert_the_same(folder, undisturbed)


def test_two_at_once(folder, undisturbed, tally):
    assert _finish(folder, [PREPARE])[0] == 0
    for _ in range(5):
        with tally("the same job trained by two processes at once"):
            both = [_start(folder, [TRAIN]), _start(folder, [TRAIN])]
            for process in both:
                process.join(120)
                assert process.exitcode == 0, (folder / "said").read_text()
            assert _finish(folder)[0] == 0
            _assert_the_same(folder, undisturbed)
            shutil.rmtree(folder / "results")


def _clock(seconds):
    now = time.time
    time.time = lambda: now() + seconds


def test_clock_and_locale(folder, undisturbed, tally, monkeypatch):
    for seconds in (-10 * 365 * 86400, 10 * 365 * 86400):
        with tally("another clock"):
            assert _finish(folder, prelude=functools.partial(_clock, seconds))[0] == 0
            for file in _visible(folder).values():
                os.utime(file, (time.time() + seconds,) * 2)
            assert "1 jobs, 1 of them recorded already" in _finish(folder)[1]
            _assert_the_same(folder, undisturbed)
            shutil.rmtree(folder / "results")
    for words in (
        {"LC_ALL": "C", "PYTHONUTF8": "0"},
        {"LC_ALL": "POSIX", "PYTHONIOENCODING": "ascii"},
        {"TZ": "Asia/Tokyo"},
    ):
        with tally("another locale or time zone"):
            for line in (["list"], TRAIN, ["table"]):
                done = subprocess.run(
                    [sys.executable, "-m", "goodinit", *line], cwd=folder, capture_output=True, check=False,
                    env={**os.environ, **words, "GOODINIT_DATA": "data"},
                )  # fmt: skip
                assert done.returncode == 0, done.stderr
            _assert_whole(folder, undisturbed)
            shutil.rmtree(folder / "results")
