"""The Snakemake workflow runs a study from data to verdict and plans only jobs that are needed."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from checkout import ROOT
from example_project import SNAKEMAKE, TWO_INITIALIZERS, planned_jobs, record_contents, snakemake
from file_system import cache_folder_of, read_only

from goodinit import studies
from goodinit.studies import settings


def test_a_study_runs_from_data_to_verdict(project):
    for name in (
        "results/laptop/tables/work/study.csv",
        "results/laptop/claims.md",
        "figures/laptop/work/study-accuracy.png",
    ):
        assert (project / name).stat().st_size > 0
    assert "**replicated**" in (project / "results/laptop/claims.md").read_text()
    assert len(record_contents(project)) == 2
    assert not list(project.rglob("*.part"))


def test_a_new_study_file_adds_only_its_jobs(project):
    other = project / "configs" / "work" / "other.yaml"
    three_initializers = TWO_INITIALIZERS.replace("He: he_normal", "He: he_normal, LeCun: lecun_normal")
    other.write_text(three_initializers.replace("pack: 6", "pack: 3"))
    try:
        planned = planned_jobs(snakemake(project, "--dry-run")[1])
    finally:
        other.unlink()
    assert planned == {"all": 1, "claims": 1, "report_work_other": 1, "train": 3}


@pytest.mark.slow
def test_a_new_initializer_in_a_study_adds_only_its_job(project):
    file = project / "configs" / "work" / "study.yaml"
    original = file.read_text()
    jobs = planned_jobs(snakemake(project, "--dry-run", "--forcerun", "train")[1])["train"]
    file.write_text(original.replace("He: he_normal", "He: he_normal, LeCun: lecun_normal"))
    try:
        status, output = snakemake(project, "--dry-run")
    finally:
        file.write_text(original)
    assert status == 0
    assert (jobs, planned_jobs(output)["train"]) == (1, 1)  # one job has six recorded runs, the new one three
    assert "3_seeds" in output


@pytest.mark.slow
def test_a_study_is_skipped_if_its_image_folder_is_missing(project):
    other = project / "configs" / "work" / "other.yaml"
    other.write_text(TWO_INITIALIZERS.replace("data: {name: digits", "data: {name: folder, path: cats"))
    message = "work/other: skipped: data/folders/cats does not exist"
    try:
        assert "path: cats" in other.read_text()
        status, output = snakemake(project, "--dry-run")
        assert (status, "Nothing to be done" in output) == (0, True), output
        assert message in output
        runs = project / "results" / "laptop" / "runs" / "work" / "other"
        runs.mkdir()
        for job in studies.load(other).jobs("laptop"):
            for suffix in ("json", "npz"):
                (runs / f"{job.name}.{suffix}").touch()
        assert message not in snakemake(project, "--dry-run")[1]  # a recorded study needs no images
        shutil.rmtree(runs)
        (project / "data" / "folders" / "cats").mkdir(parents=True)
        assert planned_jobs(snakemake(project, "--dry-run")[1])["dataset"] == 1
    finally:
        other.unlink()
        shutil.rmtree(project / "data" / "folders", ignore_errors=True)


@pytest.mark.slow
def test_data_is_prepared_in_the_cache_if_the_data_folder_is_read_only(project, tmp_path, user_cache):
    manifest = cache_folder_of(user_cache, tmp_path) / "prepared" / "digits" / "manifest.json"
    config = ["--config", f"data_root={tmp_path}"]
    with read_only(tmp_path):
        status, output = snakemake(project, str(manifest), *config)
        assert status == 0, output
        assert manifest.exists()
        planned = planned_jobs(snakemake(project, "--dry-run", "--forcerun", "train", *config)[1])
        assert (planned["train"], "dataset" in planned) == (1, False)


@pytest.mark.slow
def test_studies_share_processes_at_demo_scale(project_copy):
    """At most four studies of a work share a process; the results are the same as with one process per job."""
    for name in ("a", "b", "c", "d"):
        shutil.copy(project_copy / "configs/work/study.yaml", project_copy / f"configs/work/{name}.yaml")
    status, output = snakemake(project_copy, "--dry-run", "--config", "scale=demo")
    assert status == 0, output
    planned = planned_jobs(output)
    assert [name for name in planned if name.startswith("train")] == ["train_work_a", "train_work_study"]
    status, output = snakemake(project_copy, "--config", "scale=demo")
    assert status == 0, output
    assert len(list(project_copy.glob("results/demo/runs/work/*/*.npz"))) == 5
    demo, laptop = (
        (project_copy / f"results/{scale}/tables/work/study.csv").read_text() for scale in ("demo", "laptop")
    )
    assert demo == laptop
    assert "Nothing to be done" in snakemake(project_copy, "--config", "scale=demo")[1]


@pytest.mark.slow
def test_studies_in_another_folder_run_with_the_snakefile_of_a_checkout(project, tmp_path):
    """With --directory, all output is written to that folder."""
    folder = tmp_path / "folder"
    (folder / "configs" / "mine").mkdir(parents=True)
    (folder / "configs" / "mine" / "first.yaml").write_text(TWO_INITIALIZERS.replace("work: work", "work: mine"))
    (folder / "configs" / "config.yaml").write_text("scale: laptop\nworks: [mine]\n")
    before = {file: file.stat().st_mtime_ns for file in project.rglob("*") if file.is_file()}
    arguments = ["-s", str(project / "Snakefile"), "--directory", str(folder)]
    status, output = snakemake(tmp_path, *arguments)
    assert status == 0, output
    assert (folder / "results/laptop/tables/mine/first.csv").exists()
    after = {file: file.stat().st_mtime_ns for file in project.rglob("*") if file.is_file()}
    assert {file for file in after if after[file] != before.get(file) and file.suffix != ".pyc"} == set()
    assert "Nothing to be done" in snakemake(tmp_path, *arguments)[1]


def test_a_folder_without_studies_uses_those_of_the_checkout(project, tmp_path):
    arguments = ["-s", str(project / "Snakefile"), "--directory", str(tmp_path / "empty"), "--dry-run"]
    status, output = snakemake(tmp_path, *arguments)
    assert status == 0, output
    assert planned_jobs(output)["train"] == 1


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ("scale=lapdog", ["lapdog", "laptop"]),
        ("works=workk", ["workk", "did you mean work"]),
        ("works=work/stduy", ["unknown study 'stduy' of work; did you mean study?"]),
        ("scales=demo", ["scales", "did you mean scale"]),
        ("data_root=/nowhere/at/all", ["/nowhere/at/all is not a folder"]),
    ],
)
def test_an_invalid_setting_is_reported_in_one_line(project, config, expected):
    status, output = snakemake(project, "--dry-run", "--config", config)
    assert status != 0
    assert "Traceback" not in output
    assert all(text in output for text in expected), output


@pytest.mark.slow
@pytest.mark.parametrize(("works", "trainings"), [("work", 2), ("work/study", 1), ("work/study,work/other", 2)])
def test_works_and_studies_can_be_selected(project_copy, works, trainings):
    study = project_copy / "configs" / "work" / "study.yaml"
    shutil.copy(study, study.with_name("other.yaml"))
    status, output = snakemake(project_copy, "--dry-run", "--config", f"works={works}", "results=elsewhere")
    assert status == 0, output
    assert planned_jobs(output)["train"] == trainings


@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "gpus"), [(["scale=paper"], 1), (["scale=paper", "device=cpu"], 0), (["device=cuda"], 1), ([], 0)]
)
def test_training_requests_a_gpu_if_it_uses_one(project, config, gpus):
    status, output = snakemake(project, "--dry-run", "--forcerun", "train", "--config", "works=work", *config)
    assert status == 0, output
    assert re.search(r"Train work/study: .*, (\d) GPUs", output)[1] == str(gpus)


@pytest.mark.slow
def test_lint(project):
    completed = subprocess.run([*SNAKEMAKE, "--lint"], cwd=project, capture_output=True, text=True, check=False)
    assert completed.returncode == 0, completed.stdout + completed.stderr


def test_every_rule_has_a_message():
    for file in (ROOT / "Snakefile", *(ROOT / "workflow").glob("*.smk")):
        text = file.read_text()
        assert len(re.findall(r"^ *rule\b.*:$", text, re.M)) == text.count("message:"), file


@pytest.mark.slow
@pytest.mark.parametrize("scale", ["demo", "laptop", "overnight", "paper"])
def test_every_study_of_the_project_is_planned(scale):
    status, output = snakemake(ROOT, "--dry-run", "--config", f"scale={scale}")
    assert status == 0, output


def test_the_default_data_folder_does_not_need_to_exist(tmp_path, monkeypatch):
    """The workflow passes it to jobs that generate their data, which may run before any data set is prepared."""
    monkeypatch.chdir(tmp_path)
    assert settings.data_root("data") == Path("data")
