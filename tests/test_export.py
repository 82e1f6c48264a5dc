"""The exported crate holds what there is, names what made it, and can be read by others."""

import zipfile

import numpy as np
import pytest
from rocrate.rocrate import ROCrate

from goodinit import records
from goodinit.cli.main import main
from goodinit.report import build

PACKAGES = {"packages": {"torch": "2.11", "numpy": "2.0", "torchvision": None}, "device": "cpu", "threads": 1}


@pytest.fixture
def crate(house, tmp_path):
    """Return the arguments of the command, and the study whose records are exported."""
    study = house.study(figures={"loss": {"kind": "curves", "y": "loss", "hue": "init"}})
    numbers = {"loss": records.Series(np.arange(1, 5), np.arange(4.0))}
    house.fill(study, lambda run: numbers, provenance=PACKAGES)
    (house.configs / "works.yaml").write_text(
        "work: {title: On Works, kind: paper, author: 'A. One, B. Two', year: 2020, where: here}"
    )
    build.write_all([study], ["laptop"], house.results, house.figures, processes=1)
    words = ["export", "--scale", "laptop", "--configs", str(house.configs), "--results", str(house.results)]
    return [*words, "--figures", str(house.figures), "--file", str(tmp_path / "out" / "it.zip")], study


def test_everything_is_in_it_and_can_be_read(crate, house, tmp_path, capsys):
    words, study = crate
    hidden = house.files(study)[0].with_name(".unfinished.json")
    hidden.write_text("not a record")
    main(words)
    said = capsys.readouterr().out
    found = ROCrate(tmp_path / "out" / "it.zip")
    names = {entity.id for entity in found.data_entities}
    with zipfile.ZipFile(tmp_path / "out" / "it.zip") as opened:
        inside = set(opened.namelist())
    assert names == inside - {"ro-crate-metadata.json"}
    assert f"{len(names)} files" in said
    for folder, kind in ((house.results, "results"), (house.figures, "figures"), (house.configs, "configs")):
        there = {f"{kind}/{file.relative_to(folder).as_posix()}" for file in folder.rglob("*") if file.is_file()}
        assert there - names == (
            {f"results/{hidden.relative_to(house.results).as_posix()}"} if kind == "results" else set()
        )
    assert found.mainEntity.id == "Snakefile"
    assert found.license == "https://spdx.org/licenses/MIT"


def test_each_record_names_what_made_it(crate, house, tmp_path):
    words, study = crate
    main(words)
    found = ROCrate(tmp_path / "out" / "it.zip")
    actions = found.get_by_type("CreateAction")
    assert len(actions) == len(study.jobs("laptop"))
    for action in actions:
        assert [one.id for one in action["instrument"]] == ["Snakefile", "#torch-2.11", "#numpy-2.0"]
        assert [found.dereference(one.id) for one in action["result"]] == action["result"]
        assert {one.id.rpartition(".")[2] for one in action["result"]} == {"json", "npz"}
        assert [one.id for one in action["object"]] == ["configs/work/study.yaml", "#work-work"]
    (work,) = (found.root_dataset["mentions"],)
    assert [author["name"] for author in work[0]["author"]] == ["A. One", "B. Two"]


def test_nothing_is_written_where_a_record_is_damaged_or_there_is_none(crate, house, tmp_path, capsys):
    words, study = crate
    with pytest.raises(SystemExit):
        main([*words, "--scale", "paper"])
    assert "nothing was run at paper scale" in capsys.readouterr().err
    house.files(study)[0].with_suffix(".npz").write_bytes(b"")
    with pytest.raises(SystemExit):
        main(words)
    assert "damaged" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
