"""An exported crate holds all files of a scale and the provenance of its records, and can be read."""

import json
import urllib.parse
import zipfile

import numpy as np
import pytest
from rocrate.rocrate import ROCrate

from goodinit import records
from goodinit.cli.main import main
from goodinit.report import build

PACKAGES = {"packages": {"torch": "2.11", "numpy": "2.0", "torchvision": None}, "device": "cpu", "threads": 1}


@pytest.fixture
def crate(workspace, tmp_path):
    """Return the command, and the study whose records it exports."""
    figure = {"kind": "curves", "y": "loss", "hue": "init", "col": "model.activation"}
    study = workspace.study(pack=4, figures={"loss": figure})
    numbers = {"loss": records.Series(np.arange(1, 5), np.arange(4.0))}
    workspace.fill(study, lambda run: numbers, provenance=PACKAGES)
    (workspace.configs / "works.yaml").write_text(
        "work: {about: works, figure: study-loss, caption: It falls., title: On Works, kind: paper, "
        " author: 'A. One, B. Two', year: 2020, where: here}"
    )
    build.write_all([study], ["laptop"], workspace.results, workspace.figures, processes=1)
    command = ["export", "--scale", "laptop", "--configs", str(workspace.configs), "--results", str(workspace.results)]
    return [*command, "--figures", str(workspace.figures), "--file", str(tmp_path / "out" / "it.zip")], study


def _identifiers(file):
    """Return the identifiers of the entities of a crate, and those that entities refer to."""
    with zipfile.ZipFile(file) as archive:
        entities = json.loads(archive.read("ro-crate-metadata.json"))["@graph"]
    references = set()

    def collect(value):
        if isinstance(value, dict):
            references.update([value["@id"]] if set(value) == {"@id"} else [])
            value = list(value.values())
        if isinstance(value, list):
            for item in value:
                collect(item)

    collect([list(entity.values()) for entity in entities])
    return {entity["@id"] for entity in entities}, references


def test_a_crate_holds_every_file_and_can_be_read(crate, workspace, tmp_path, capsys):
    command, study = crate
    hidden = workspace.files(study)[0].with_name(".unfinished.json")
    hidden.write_text("not a record")
    main(command)
    output = capsys.readouterr().out
    exported = ROCrate(tmp_path / "out" / "it.zip")
    names = {urllib.parse.unquote(entity.id) for entity in exported.data_entities}
    assert any("+" in name for name in names)  # which is encoded in identifiers
    with zipfile.ZipFile(tmp_path / "out" / "it.zip") as archive:
        members = set(archive.namelist())
    assert names == members - {"ro-crate-metadata.json"}
    assert f"{len(names)} files" in output
    for folder, kind in (
        (workspace.results, "results"),
        (workspace.figures, "figures"),
        (workspace.configs, "configs"),
    ):
        existing = {f"{kind}/{file.relative_to(folder).as_posix()}" for file in folder.rglob("*") if file.is_file()}
        assert existing - names == (
            {f"results/{hidden.relative_to(workspace.results).as_posix()}"} if kind == "results" else set()
        )
    identifiers, references = _identifiers(tmp_path / "out" / "it.zip")
    assert {name for name in references if not name.startswith("https://")} <= identifiers
    assert exported.mainEntity.id == "Snakefile"
    assert exported.license == "https://spdx.org/licenses/MIT"


def test_each_record_has_an_action_with_its_software_and_study(crate, workspace, tmp_path):
    command, study = crate
    main(command)
    exported = ROCrate(tmp_path / "out" / "it.zip")
    actions = exported.get_by_type("CreateAction")
    assert len(actions) == len(study.jobs("laptop"))
    for action in actions:
        assert [item.id for item in action["instrument"]] == ["Snakefile", "#torch-2.11", "#numpy-2.0"]
        assert [exported.dereference(item.id) for item in action["result"]] == action["result"]
        assert {item.id.rpartition(".")[2] for item in action["result"]} == {"json", "npz"}
        assert [item.id for item in action["object"]] == ["configs/work/study.yaml", "#work-work"]
    (work,) = (exported.root_dataset["mentions"],)
    assert [author["name"] for author in work[0]["author"]] == ["A. One", "B. Two"]


def test_records_of_a_study_that_is_deleted_are_exported(crate, tmp_path):
    command, study = crate
    study.path.unlink()
    main(command)
    for action in ROCrate(tmp_path / "out" / "it.zip").get_by_type("CreateAction"):
        assert [item.id for item in action["object"]] == ["#work-work"]


def test_nothing_is_written_if_a_record_is_damaged_or_there_is_none(crate, workspace, tmp_path, capsys):
    command, study = crate
    with pytest.raises(SystemExit):
        main([*command, "--scale", "paper"])
    assert "nothing was run at paper scale" in capsys.readouterr().err
    workspace.files(study)[0].with_suffix(".npz").write_bytes(b"")
    with pytest.raises(SystemExit):
        main(command)
    assert "damaged" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_incomplete_citation_is_reported_in_one_line(crate, workspace, capsys):
    file = workspace.configs / "works.yaml"
    file.write_text(file.read_text().replace("author: 'A. One, B. Two', ", ""))
    with pytest.raises(SystemExit, match="2"):
        main(crate[0])
    assert "works.yaml: work: 'author' is a required property" in capsys.readouterr().err
