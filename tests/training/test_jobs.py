"""Jobs: recorded runs are reused, and records are replaced when the new ones are complete."""

import signal
import subprocess
import sys
import time

import pytest
import torch
import yaml
from example_project import TWO_INITIALIZERS
from sample_training import assert_equal_numbers

from goodinit import records
from goodinit.cli.main import main
from goodinit.training import trainer


def test_recorded_runs_are_reused_and_missing_ones_trained(study, data_root, tmp_path, capsys, monkeypatch):
    command = ["--configs", f"{tmp_path}/configs", "--results", f"{tmp_path}/results", "--scale", "laptop"]

    def train():
        main(["train", "--device", "cpu", *command, "--data-root", str(data_root)])

    train()
    (first,) = (tmp_path / "results").rglob("*.json")
    before = {run.id: run for run in records.read(first)}
    train()
    assert "1 of them recorded already" in capsys.readouterr().err

    body = yaml.safe_load(TWO_INITIALIZERS)
    body["compare"]["init"]["LeCun"] = "lecun_normal"
    body["pack"] = 9
    study.path.write_text(yaml.safe_dump(body, sort_keys=False))
    trained = []
    execute = trainer.execute
    monkeypatch.setattr(trainer, "execute", lambda runs, **more: (trained.extend(runs), execute(runs, **more))[1])
    train()
    assert [run.labels["init"] for run in trained] == ["LeCun"] * 3
    (second,) = set((tmp_path / "results").rglob("*.json")) - {first}
    after = {run.id: run for run in records.read(second)}
    assert after.keys() > before.keys()
    for run_id, run in before.items():
        assert_equal_numbers(run, after[run_id])
    main(["list", "--runs", *command])
    shown = capsys.readouterr().out
    assert "9 runs in 1 jobs; 9 recorded" in shown
    main(["show", trained[0].id[:8], "--results", f"{tmp_path}/results"])
    assert "lecun_normal" in capsys.readouterr().out


def test_training_again_keeps_the_old_record_until_the_new_one_is_complete(study, tmp_path, data_root):
    """Ended in the middle, by a request and then by a kill, and given again until it is done."""
    options = ["--device", "cpu", "--configs", f"{tmp_path}/configs", "--results", f"{tmp_path}/results"]
    options += ["--data-root", str(data_root)]
    main(["train", *options])
    (file,) = (tmp_path / "results").rglob("*.json")
    before = [part.read_bytes() for part in (file, file.with_suffix(".npz"))]
    command = [sys.executable, "-m", "goodinit", "train", "--force", "--checkpoint-minutes", "0.0001", *options]
    for ending in (signal.SIGTERM, signal.SIGKILL):
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            while not list(file.parent.glob(".*checkpoint*")) + list(file.parent.glob(".*unfinished*")):
                assert process.poll() is None, process.communicate()[1]
                time.sleep(0.002)
            process.send_signal(ending)
        assert process.returncode in (0, 128 + ending, -ending)
        if process.returncode:
            assert [part.read_bytes() for part in (file, file.with_suffix(".npz"))] == before
    main(["train", "--force", *options])
    assert file.read_bytes() != before[0]  # the seconds are others
    for first, second in zip(records.read(file), _read(before, tmp_path), strict=True):
        assert_equal_numbers(first, second)
    assert not list(file.parent.glob(".*"))


def _read(content, folder):
    """Return the runs of a record of which the content of both files is given."""
    file = folder / "before.json"
    for part, part_content in zip((file, file.with_suffix(".npz")), content, strict=True):
        part.write_bytes(part_content)
    return records.read(file)


@pytest.mark.parametrize("gpus", [0, 1])
def test_a_study_that_requests_no_gpu_trains_on_the_cpu_at_paper_scale(
    study, tmp_path, data_root, capsys, monkeypatch, gpus
):
    """Also where there is a GPU; other studies need one, or an explicit device."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: bool(gpus))
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    command = ["--configs", f"{tmp_path}/configs", "--results", f"{tmp_path}/results", "--data-root", str(data_root)]
    if not gpus:
        with pytest.raises(SystemExit, match="2"):
            main(["train", *command, "--scale", "paper"])
        assert "scale: paper without a GPU: 6 runs would take about" in capsys.readouterr().err
    study.path.write_text(TWO_INITIALIZERS + "resources: {gpu: 0}\n")
    main(["train", *command, "--scale", "paper"])
    (file,) = (tmp_path / "results").rglob("*.json")
    assert {run.provenance["device"] for run in records.read(file)} == {"cpu"}


def test_the_time_of_runs_without_updates_is_not_said_to_be_zero(study, tmp_path, data_root, capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    body = yaml.safe_load(TWO_INITIALIZERS)
    body["fixed"]["training"]["steps"] = 0
    study.path.write_text(yaml.safe_dump(body, sort_keys=False))
    command = ["--configs", f"{tmp_path}/configs", "--results", f"{tmp_path}/results", "--data-root", str(data_root)]
    with pytest.raises(SystemExit, match="2"):
        main(["train", *command, "--scale", "paper"])
    assert "6 runs would take as long as their initialization and diagnostics" in capsys.readouterr().err


@pytest.mark.parametrize("place", ["setup", "loss"])
@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes."),
        MemoryError(),
    ],
)
def test_memory_that_runs_out_in_any_batch_is_one_line_with_advice(
    place, error, study, data_root, tmp_path, capsys, monkeypatch
):
    """Also in the batch on which the parts are checked, and in the first that is trained."""

    def fail(*arguments):
        raise error

    if place == "setup":
        monkeypatch.setattr("goodinit.training.build.objective", lambda parts: fail)
    else:
        monkeypatch.setattr("goodinit.training.loop.Loop.add", fail)
    command = ["--configs", f"{tmp_path}/configs", "--results", f"{tmp_path}/results", "--data-root", str(data_root)]
    with pytest.raises(SystemExit):
        main(["train", "--device", "cpu", *command])
    message = capsys.readouterr().err.splitlines()[-1]
    assert "out of memory on cpu; it needs about" in message
    assert "lower training.batch_size" in message
    assert not list((tmp_path / "results").rglob("*.json"))
