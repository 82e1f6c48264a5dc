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

from goodinit import studies
from goodinit.studies import settings

ROOT = Path(__file__).parents[1]
SNAKEMAKE = [sys.executable, "-m", "snakemake", "--cores", "2"]
STUDY = (ROOT / "tests" / "test_trainer.py").read_text().split('"""')[3]
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


def _records(folder):
    """Return {file: content} of all records below a folder."""
    files = sorted(folder.glob("results/*/runs/*/*/*"))
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


def test_from_data_to_verdict(project):
    for name in (
        "results/laptop/tables/work/study.csv",
        "results/laptop/claims.md",
        "figures/laptop/work/study-accuracy.png",
    ):
        assert (project / name).stat().st_size > 0
    assert "**replicated**" in (project / "results/laptop/claims.md").read_text()
    assert not list(project.rglob("*.part"))


def test_nothing_is_done_twice(project):
    status, output = _snakemake(project)
    assert (status, "Nothing to be done" in output) == (0, True)
    (project / "src" / "goodinit" / "training" / "trainer.py").touch()
    (project / "environment.yml").write_text("# a comment\n" + (project / "environment.yml").read_text())
    assert "Nothing to be done" in _snakemake(project)[1]


def test_a_clone_with_records_trains_nothing_and_needs_no_data(project, tmp_path):
    clone = tmp_path / "clone"
    shutil.copytree(project, clone, copy_function=shutil.copy)  # with new times, as git does
    for name in (".snakemake", "data", "logs", "figures", "results/laptop/tables"):
        shutil.rmtree(clone / name)
    for name in ("claims.md", "claims.csv"):
        (clone / "results" / "laptop" / name).unlink()
    planned = _planned(_snakemake(clone, "--dry-run")[1])
    assert planned.keys() == {"all", "report_work_study", "claims"}


@pytest.fixture
def copy(project, tmp_path):
    """Return a copy of the project in which everything was done, to be changed by one test."""
    return shutil.copytree(project, tmp_path / "copy", copy_function=shutil.copy2, symlinks=True)


def test_where_a_job_runs_is_no_reason_to_run_it_again(copy, tmp_path):
    """Other paths of checkout, data and results, another device, more threads, another environment file."""
    before = _records(copy)
    copy = copy.rename(tmp_path / "renamed")
    (copy / "data").rename(tmp_path / "shared")
    (copy / "results").rename(tmp_path / "elsewhere")
    (copy / "results").symlink_to(tmp_path / "elsewhere")
    (copy / "environment.yml").write_text("# a comment\n" + (copy / "environment.yml").read_text())
    words = ["--config", "device=cpu", "--set-threads", "train=2"]
    status, output = _snakemake(copy, *words, environment={"GOODINIT_DATA": str(tmp_path / "shared")})
    assert (status, "Nothing to be done" in output) == (0, True), output
    assert _records(copy) == before


def test_data_that_are_not_prepared_elsewhere_are_not_prepared_for_what_is_recorded(copy, tmp_path):
    (tmp_path / "empty").mkdir()
    status, output = _snakemake(copy, environment={"GOODINIT_DATA": str(tmp_path / "empty")})
    assert (status, "Nothing to be done" in output) == (0, True), output
    assert not list((tmp_path / "empty").iterdir())


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ["--forcerun", "train"],
        ["--forceall"],
        ["--rerun-triggers", "mtime", "params", "input", "software-env", "code", "--config", "device=cpu"],
    ],
)
def test_a_record_survives_whatever_reruns_its_job(copy, words):
    """A forced job finds its record whole, and keeps it."""
    before = _records(copy)
    assert len(before) == 2
    status, output = _snakemake(copy, *words)
    assert status == 0, output
    assert _records(copy) == before


def test_a_killed_rerun_leaves_the_old_record(copy):
    before = _records(copy)
    command = [*SNAKEMAKE, "--forcerun", "train"]
    with subprocess.Popen(
        command, cwd=copy, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        log = next(iter((copy / "logs").glob("*/train/*/*/*.log")))
        written = log.stat().st_mtime_ns
        while process.poll() is None and (not log.exists() or log.stat().st_mtime_ns == written):
            time.sleep(0.01)  # until the training writes into its log anew
        os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert _records(copy) == before
    status, output = _snakemake(copy, "--unlock")
    assert status == 0, output
    status, output = _snakemake(copy)
    assert status == 0, output
    assert _records(copy) == before


@pytest.mark.slow
def test_studies_of_one_s_own_are_run_in_a_folder_of_one_s_own(project, tmp_path):
    """With the Snakefile of a checkout and --directory; what is written goes there alone."""
    own = tmp_path / "own"
    (own / "configs" / "mine").mkdir(parents=True)
    (own / "configs" / "mine" / "first.yaml").write_text(STUDY.replace("work: work", "work: mine"))
    (own / "configs" / "config.yaml").write_text("scale: laptop\nworks: [mine]\n")
    before = {file: file.stat().st_mtime_ns for file in project.rglob("*") if file.is_file()}
    call = ["-s", str(project / "Snakefile"), "--directory", str(own)]
    status, output = _snakemake(tmp_path, *call)
    assert status == 0, output
    assert (own / "results/laptop/tables/mine/first.csv").exists()
    after = {file: file.stat().st_mtime_ns for file in project.rglob("*") if file.is_file()}
    assert {file for file in after if after[file] != before.get(file) and file.suffix != ".pyc"} == set()
    assert "Nothing to be done" in _snakemake(tmp_path, *call)[1]


def test_a_folder_without_studies_takes_those_of_the_checkout(project, tmp_path):
    call = ["-s", str(project / "Snakefile"), "--directory", str(tmp_path / "empty"), "--dry-run"]
    status, output = _snakemake(tmp_path, *call)
    assert status == 0, output
    assert _planned(output)["train"] == 1


@pytest.mark.slow
def test_at_demo_scale_studies_share_processes(copy):
    """At most four studies of one work in each, so that starting costs little; the results are the same."""
    for name in ("a", "b", "c", "d"):
        shutil.copy(copy / "configs/work/study.yaml", copy / f"configs/work/{name}.yaml")
    status, output = _snakemake(copy, "--dry-run", "--config", "scale=demo")
    assert status == 0, output
    planned = _planned(output)
    assert [name for name in planned if name.startswith("train")] == ["train_work_a", "train_work_study"]
    status, output = _snakemake(copy, "--config", "scale=demo")
    assert status == 0, output
    assert len(list(copy.glob("results/demo/runs/work/*/*.npz"))) == 5
    tables = [(copy / f"results/{scale}/tables/work/study.csv").read_text() for scale in ("demo", "laptop")]
    assert tables[0] == tables[1]
    assert "Nothing to be done" in _snakemake(copy, "--config", "scale=demo")[1]


def test_one_more_study_file_adds_just_its_runs(project):
    other = project / "configs" / "work" / "other.yaml"
    other.write_text(STUDY.replace("He: he_normal", "He: he_normal, LeCun: lecun_normal").replace("pack: 6", "pack: 3"))
    try:
        planned = _planned(_snakemake(project, "--dry-run")[1])
    finally:
        other.unlink()
    assert planned == {"all": 1, "claims": 1, "report_work_other": 1, "train": 3}


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_study_of_pictures_that_are_not_there_is_left_out(project):
    other = project / "configs" / "work" / "other.yaml"
    other.write_text(STUDY.replace("data: {name: digits", "data: {name: folder, path: cats"))
    try:
        assert "path: cats" in other.read_text()
        status, output = _snakemake(project, "--dry-run")
        assert (status, "Nothing to be done" in output) == (0, True), output
        assert "work/other: left out: there is no folder data/folders/cats" in output
        runs = project / "results" / "laptop" / "runs" / "work" / "other"
        runs.mkdir()
        for job in studies.load(other).jobs("laptop"):
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
def test_a_read_only_data_folder_is_prepared_elsewhere(project, tmp_path, user_cache, place_of, read_only):
    manifest = place_of(user_cache, tmp_path) / "prepared" / "digits" / "manifest.json"
    config = ["--config", f"data_root={tmp_path}"]
    with read_only(tmp_path):
        status, output = _snakemake(project, str(manifest), *config)
        assert status == 0, output
        assert manifest.exists()
        output = _snakemake(project, "--dry-run", "--forcerun", "train", *config)[1]
        assert str(manifest) in output
        planned = _planned(output)
        assert (planned["train"], "dataset" in planned) == (1, False)


@pytest.mark.slow
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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "gpus"), [(["scale=paper"], 1), (["scale=paper", "device=cpu"], 0), (["device=cuda"], 1), ([], 0)]
)
def test_a_training_asks_for_a_gpu_where_it_takes_one(project, config, gpus):
    status, output = _snakemake(project, "--dry-run", "--forcerun", "train", "--config", "works=work", *config)
    assert status == 0, output
    assert re.search(r"rule train:.*?resources: [^\n]*\bgpu=(\d)", output, re.DOTALL)[1] == str(gpus)


@pytest.mark.slow
def test_lint(project):
    done = subprocess.run([*SNAKEMAKE, "--lint"], cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_every_study_of_the_project_is_planned():
    for scale in ("demo", "laptop", "paper"):
        status, output = _snakemake(ROOT, "--dry-run", "--config", f"scale={scale}")
        assert status == 0, output


def test_the_default_data_folder_may_be_named_before_it_exists(tmp_path, monkeypatch):
    """The workflow names it to jobs that draw their data, which may come before any set is prepared."""
    monkeypatch.chdir(tmp_path)
    assert settings.data_root("data") == Path("data")
