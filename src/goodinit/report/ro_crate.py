"""A scale's results as one RO-Crate, for an archive: records, tables, figures, verdicts, and what they came from."""

import os
from pathlib import Path

from rocrate.model import ContextEntity, Person
from rocrate.rocrate import ROCrate

from goodinit import records
from goodinit.errors import InputError
from goodinit.studies import strict_yaml

__all__ = ["export"]

ROOT = Path(__file__).resolve().parents[3]
LICENSES = {"MIT": "https://spdx.org/licenses/MIT"}
FORMATS = {
    ".csv": "text/csv",
    ".json": "application/json",
    ".md": "text/markdown",
    ".npz": "application/zip",
    ".png": "image/png",
    ".smk": "text/x-python",
    ".svg": "image/svg+xml",
    ".yaml": "application/yaml",
}


def export(scale, configs, results, figures, file):
    """Write a zipped RO-Crate of everything that there is at a scale, whole or not at all.

    It names the workflow and its license, the works and their authors, and for every record which run of which
    software on which device made it.

    Args:
        scale: of the results.
        configs, results, figures: the folders.
        file: to be written.

    Returns:
        How many files the crate holds.

    Raises:
        InputError: nothing was run at the scale, a record is damaged, or this is not a checkout.
        OSError: the file cannot be written.
    """
    configs, file = Path(configs), Path(file)
    folders = {"results": Path(results) / scale, "figures": Path(figures) / scale}
    recorded = {path: records.read(path) for path in sorted((Path(results) / scale / "runs").glob("*/*/[!.]*.json"))}
    if not recorded:
        raise InputError(f"export: nothing was run at {scale} scale in {results}: see goodinit list --scale {scale}")
    if not (ROOT / "CITATION.cff").exists():
        raise InputError("export: needs a checkout of Goodinit, whose workflow is part of the crate: this is a wheel")
    citation = strict_yaml.read(ROOT / "CITATION.cff")
    crate = ROCrate()
    crate.name = f"{citation['title']}, {scale} scale"
    crate.description = "Replications of five works on how to start and steady the training of neural networks."
    crate.license = LICENSES[citation["license"]]
    authors = [_organization(crate, author["name"]) for author in citation["authors"]]
    crate.creator = authors
    _workflow(crate, citation, authors)
    works = _works(crate, strict_yaml.read(configs / "works.yaml"))
    for path in sorted(configs.rglob("*.yaml")):
        _add(crate, path, f"configs/{path.relative_to(configs).as_posix()}")
    for kind, folder in folders.items():
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not path.name.startswith("."):
                _add(crate, path, f"{kind}/{scale}/{path.relative_to(folder).as_posix()}")
    for path, runs in recorded.items():
        _actions(crate, path, runs, scale, works)
    part = file.with_name(f".{file.name}.{os.getpid()}.part.zip")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        crate.write_zip(part)
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)
    return len(crate.data_entities)


def _add(crate, path, place, **properties):
    return crate.add_file(
        path, place, properties={"encodingFormat": FORMATS.get(path.suffix, "text/plain"), **properties}
    )


def _organization(crate, name):
    return crate.add(ContextEntity(crate, f"#{_slug(name)}", {"@type": "Organization", "name": name}))


def _workflow(crate, citation, authors):
    workflow = crate.add_workflow(ROOT / "Snakefile", "Snakefile", main=True, lang="snakemake", properties={
        "name": citation["title"], "version": citation["version"],
    })  # fmt: skip
    workflow["license"] = {"@id": LICENSES[citation["license"]]}
    workflow["creator"] = authors
    for path in sorted((ROOT / "workflow").rglob("*.*")):
        _add(crate, path, path.relative_to(ROOT).as_posix())
    crate.add(
        ContextEntity(crate, LICENSES[citation["license"]], {
            "@type": "CreativeWork", "name": citation["license"], "identifier": LICENSES[citation["license"]],
        })
    )  # fmt: skip


def _works(crate, cited):
    """Add the works that are replicated; return {name: entity}."""
    found = {}
    for name, work in cited.items():
        authors = [
            crate.add(Person(crate, f"#{_slug(author)}", {"name": author.strip()}))
            for author in work["author"].split(",")
        ]
        found[name] = crate.add(ContextEntity(crate, f"#work-{name}", {
            "@type": "CreativeWork",
            "name": work["title"],
            "author": [{"@id": author.id} for author in authors],
            "datePublished": str(work["year"]),
            "description": f"{work['kind']}; {work['where']}",
        }))  # fmt: skip
    crate.root_dataset["mentions"] = [{"@id": work.id} for work in found.values()]
    return found


def _actions(crate, path, runs, scale, works):
    """Add what made a record, or the parts of one made in several goes: software, device, code, data, seconds."""
    study = path.parent
    work, place = study.parent.name, f"results/{scale}/runs/{study.parent.name}/{study.name}"
    origins = [run.provenance for run in runs]
    for number, made in enumerate(made for i, made in enumerate(origins) if made not in origins[:i]):
        mine = [run for run in runs if run.provenance == made]
        software = [
            crate.add(ContextEntity(crate, f"#{name}-{version}", {
                "@type": "SoftwareApplication", "name": name, "softwareVersion": version,
            }))
            for name, version in (made.get("packages") or {}).items()
            if version
        ]  # fmt: skip
        seconds = sum(sum(run.seconds.values()) for run in mine)
        crate.add(ContextEntity(crate, f"#training-{work}-{study.name}-{path.stem}-{number + 1}", {
            "@type": "CreateAction",
            "name": f"{work}/{study.name}: {len(mine)} runs",
            "description": f"on {made.get('device')}, {made.get('threads')} CPU threads, {seconds:.0f} seconds; "
                           f"{_code(made)}; data of SHA-256 {made.get('data_sha256') or 'unknown'}",
            "instrument": [{"@id": "Snakefile"}, *({"@id": one.id} for one in software)],
            "object": [{"@id": f"configs/{work}/{study.name}.yaml"},
                       *([{"@id": works[work].id}] if work in works else [])],
            "result": [{"@id": f"{place}/{path.with_suffix(kind).name}"} for kind in (".json", ".npz")],
        }))  # fmt: skip


def _code(made):
    """Return the commit of a record's code in words; None is unknown, also whether there were changes."""
    changes = {True: ", modified", False: "", None: ", perhaps modified"}[made.get("modified")]
    return f"commit {made['commit']}{changes}" if made.get("commit") else "commit unknown"


def _slug(text):
    return "-".join(text.lower().split())
