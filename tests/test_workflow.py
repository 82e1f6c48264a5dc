"""The Snakemake workflow: one study from data to verdict, and nothing done twice."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from goodinit import settings, spec

ROOT = Path(__file__).parents[1]
SNAKEMAKE = [sys.executable, "-m", "snakemake", "--cores", "2"]
STUDY = (ROOT / "tests" / "test_runner.py").read_text().split('"""')[3]
MORE = """
figures: {accuracy: {kind: curves, y: test_accuracy, hue: init}}
claims:
  - id: he-is-better
    says: He's is better.
    source: here
    test: {beats: {better: {init: He}, worse: {init: small}, metric: test_accuracy, best: highest}}
"""


def _snakemake(folder, *words, environment=None):
    done = subprocess.run(
        [*SNAKEMAKE, *words], cwd=folder, capture_output=True, text=True, check=False,
        env={**os.environ, "GOODINIT_DATA": "", **(environment or {})},
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def project(tmp_path_factory, project_of):
    """Return a copy of the project with one small study, run once."""
    folder = project_of(tmp_path_factory.mktemp("project"), STUDY + MORE)
    status, output = _snakemake(folder)
    assert status == 0, output
    return folder


def _planned(output):
    """Return {rule: count} from the table of a dry run."""
    lines = output.partition("job ")[2].partition("total ")[0].splitlines()
    pairs = (line.split() for line in lines if len(line.split()) == 2)
    return {rule: int(count) for rule, count in pairs if count.isdigit()}


def test_from_data_to_verdict(project):
    for name in (
        "results/demo/tables/work/study.csv",
        "results/demo/claims.md",
        "figures/demo/work/study-accuracy.png",
    ):
        assert (project / name).stat().st_size > 0
    assert "indicative: for" in (project / "results/demo/claims.md").read_text()
    assert not list(project.rglob("*.part"))


def test_nothing_is_done_twice(project):
    status, output = _snakemake(project)
    assert (status, "Nothing to be done" in output) == (0, True)
    (project / "src" / "goodinit" / "runner.py").touch()
    (project / "environment.yml").write_text("# a comment\n" + (project / "environment.yml").read_text())
    assert "Nothing to be done" in _snakemake(project)[1]


def test_a_clone_with_records_trains_nothing_and_needs_no_data(project, tmp_path):
    clone = tmp_path / "clone"
    shutil.copytree(project, clone, copy_function=shutil.copy)  # with new times, as git does
    for name in (".snakemake", "data", "logs", "figures", "results/demo/tables"):
        shutil.rmtree(clone / name)
    for name in ("claims.md", "claims.csv"):
        (clone / "results" / "demo" / name).unlink()
    planned = _planned(_snakemake(clone, "--dry-run")[1])
    assert planned.keys() == {"all", "table", "figure", "claims"}


def test_one_more_study_file_adds_just_its_runs(project):
    other = project / "configs" / "work" / "other.yaml"
    other.write_text(STUDY.replace("He: he_normal", "He: he_normal, LeCun: lecun_normal").replace("pack: 6", "pack: 3"))
    try:
        planned = _planned(_snakemake(project, "--dry-run")[1])
    finally:
        other.unlink()
    assert planned == {"all": 1, "claims": 1, "table": 1, "train": 3}


def test_one_more_initializer_in_a_study_adds_just_its_job(project):
    file = project / "configs" / "work" / "study.yaml"
    before = file.read_text()
    jobs = _planned(_snakemake(project, "--dry-run", "--forcerun", "train")[1])["train"]
    file.write_text(before.replace("He: he_normal", "He: he_normal, LeCun: lecun_normal"))
    try:
        status, output = _snakemake(project, "--dry-run")
        assert status == 0
        assert (jobs, _planned(output)["train"]) == (1, 1)  # six recorded runs in one job; the new one holds three
        assert "3_seeds" in output
    finally:
        file.write_text(before)


def test_a_study_of_pictures_that_are_not_there_is_left_out(project):
    other = project / "configs" / "work" / "other.yaml"
    other.write_text(STUDY.replace("data: {name: digits", "data: {name: folder, path: cats"))
    try:
        assert "path: cats" in other.read_text()
        status, output = _snakemake(project, "--dry-run")
        assert (status, "Nothing to be done" in output) == (0, True), output
        assert "work/other: left out: there is no folder data/folders/cats" in output
        runs = project / "results" / "demo" / "runs" / "work" / "other"
        runs.mkdir()
        for job in spec.load(other).jobs("demo"):
            for kind in ("json", "npz"):
                (runs / f"{job.name}.{kind}").touch()
        assert "left out" not in _snakemake(project, "--dry-run")[1]  # what is recorded needs no pictures
        shutil.rmtree(runs)
        (project / "data" / "folders" / "cats").mkdir(parents=True)
        assert _planned(_snakemake(project, "--dry-run")[1])["dataset"] == 1
    finally:
        other.unlink()
        shutil.rmtree(project / "data" / "folders", ignore_errors=True)


@pytest.mark.slow
def test_a_data_folder_that_cannot_be_written_to_is_prepared_elsewhere(project, tmp_path, cache, place_of, read_only):
    manifest = place_of(cache, tmp_path) / "prepared" / "digits" / "manifest.json"
    config = ["--config", f"data_root={tmp_path}"]
    with read_only(tmp_path):
        status, output = _snakemake(project, str(manifest), *config)
        assert status == 0, output
        assert manifest.exists()
        output = _snakemake(project, "--dry-run", "--forcerun", "train", *config)[1]
        assert str(manifest) in output
        assert "dataset" not in _planned(output)


def test_a_second_snakemake_in_the_folder_waits_for_its_turn(project):
    command = [*SNAKEMAKE, "--forcerun", "claims"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, cwd=project, env={**os.environ, "GOODINIT_DATA": ""}, **quiet) as first:
        locks = project / ".snakemake" / "locks"
        while first.poll() is None and not (locks.is_dir() and any(locks.iterdir())):
            time.sleep(0.01)
        first.send_signal(signal.SIGSTOP)  # holds the lock for as long as the second needs
        status, output = _snakemake(project)
        first.send_signal(signal.SIGCONT)
        assert first.wait(60) == 0
    assert status != 0
    assert "Directory cannot be locked" in output
    assert "Traceback" not in output
    assert "Nothing to be done" in _snakemake(project)[1]


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("scale=lapdog", ["lapdog", "laptop"]),
        ("works=workk", ["workk", "did you mean work"]),
        ("scales=demo", ["scales", "did you mean scale"]),
        ("data_root=/nowhere/at/all", ["/nowhere/at/all is not a folder"]),
    ],
)
def test_a_wrong_setting_is_one_clear_line(project, config, words):
    status, output = _snakemake(project, "--dry-run", "--config", config)
    assert status != 0
    assert "Traceback" not in output
    assert all(word in output for word in words), output


@pytest.mark.parametrize(
    ("config", "gpus"), [(["scale=paper"], 1), (["scale=paper", "device=cpu"], 0), (["device=cuda"], 1), ([], 0)]
)
def test_a_training_asks_for_a_gpu_where_it_takes_one(project, config, gpus):
    status, output = _snakemake(project, "--dry-run", "--forcerun", "train", "--config", "works=work", *config)
    assert status == 0, output
    assert re.search(r"rule train:.*?resources: [^\n]*\bgpu=(\d)", output, re.DOTALL)[1] == str(gpus)


def test_lint(project):
    done = subprocess.run([*SNAKEMAKE, "--lint"], cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_study_of_the_project_is_planned():
    for scale in ("demo", "laptop", "paper"):
        status, output = _snakemake(ROOT, "--dry-run", "--config", f"scale={scale}")
        assert status == 0, output


def test_the_default_data_folder_may_be_named_before_it_exists(tmp_path, monkeypatch):
    """The workflow names it to jobs that draw their data, which may come before any set is prepared."""
    monkeypatch.chdir(tmp_path)
    assert settings.data_root("data") == Path("data")
