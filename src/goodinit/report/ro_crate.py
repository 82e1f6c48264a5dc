"""Export the results at a scale as an RO-Crate, for an archive: records, tables, figures, verdicts and provenance."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rocrate.model import ContextEntity, Person
from rocrate.rocrate import ROCrate

from goodinit import records
from goodinit.errors import InputError
from goodinit.studies import strict_yaml

__all__ = ["describe_code", "export"]

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

# Properties of schema.org that only some works have, and their keys in configs/works.yaml.
OPTIONAL_OF_WORKS = {"alternateName": "original_title", "url": "url"}


def export(scale: str, configs: Path, results: Path, figures: Path, file: Path) -> int:
    """Write everything that exists at a scale as a zipped RO-Crate, whole or not at all.

    The crate names the workflow and its license, the works and their authors, and for every record the runs, the
    software and the device.

    Args:
        scale: of the results.
        configs, results, figures: the folders.
        file: the file to write.

    Returns:
        The number of files in the crate.

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
    crate.description = "Replications of five works on initializing and stabilizing the training of neural networks."
    crate.license = LICENSES[citation["license"]]
    authors = [_add_organization(crate, author["name"]) for author in citation["authors"]]
    crate.creator = authors
    _add_workflow(crate, citation, authors)
    works = _add_works(crate, strict_yaml.read_valid(configs / "works.yaml", "works"))
    identifiers = {
        path: _add_file(crate, path, f"configs/{path.relative_to(configs).as_posix()}")
        for path in sorted(configs.rglob("*.yaml"))
    }
    for kind, folder in folders.items():
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not path.name.startswith("."):
                name = f"{kind}/{scale}/{path.relative_to(folder).as_posix()}"
                identifiers[path] = _add_file(crate, path, name)
    for path, runs in recorded.items():
        work, study = path.parts[-3:-1]
        of_study = identifiers.get(configs / work / f"{study}.yaml")  # the study of a record may be deleted
        sources = [source for source in (of_study, works[work].id if work in works else None) if source]
        results_of = [identifiers[path.with_suffix(suffix)] for suffix in (".json", ".npz")]
        _add_actions(crate, f"{work}/{study}", path.stem, runs, sources, results_of)
    _write(crate, file)
    return len(crate.data_entities)


def describe_code(provenance: Mapping[str, Any]) -> str:
    """Return the commit of the code as text; both the commit and whether it was modified may be unknown (None)."""
    if not provenance.get("commit"):
        return "commit unknown"
    changes = {True: ", modified", False: "", None: ", perhaps modified"}[provenance.get("modified")]
    return f"commit {provenance['commit']}{changes}"


def _write(crate: ROCrate, file: Path) -> None:
    """Write a crate to a temporary file, which then replaces the file."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}.part.zip")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        crate.write_zip(temporary)
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)


def _add_file(crate: ROCrate, path: Path, destination: str) -> str:
    """Add a file; return its identifier, in which some characters of its name are encoded."""
    properties = {"encodingFormat": FORMATS.get(path.suffix, "text/plain")}
    identifier: str = crate.add_file(path, destination, properties=properties).id
    return identifier


def _add_organization(crate: ROCrate, name: str) -> ContextEntity:
    return crate.add(ContextEntity(crate, f"#{_slug(name)}", {"@type": "Organization", "name": name}))


def _add_workflow(crate: ROCrate, citation: Mapping[str, Any], authors: Sequence[ContextEntity]) -> None:
    """Add the Snakefile, the rules, and the license."""
    license_url = LICENSES[citation["license"]]
    properties = {"name": citation["title"], "version": citation["version"]}
    workflow = crate.add_workflow(ROOT / "Snakefile", "Snakefile", main=True, lang="snakemake", properties=properties)
    workflow["license"] = {"@id": license_url}
    workflow["creator"] = authors
    for path in sorted((ROOT / "workflow").rglob("*.*")):
        _add_file(crate, path, path.relative_to(ROOT).as_posix())
    described = {"@type": "CreativeWork", "name": citation["license"], "identifier": license_url}
    crate.add(ContextEntity(crate, license_url, described))


def _add_works(crate: ROCrate, cited: Mapping[str, Any]) -> dict[str, ContextEntity]:
    """Add the works that are replicated; return their entities by name."""
    works = {}
    for name, work in cited.items():
        authors = [
            crate.add(Person(crate, f"#{_slug(author)}", {"name": author.strip()}))
            for author in work["author"].split(",")
        ]
        properties = {
            "@type": "CreativeWork",
            "name": work["title"],
            "author": [{"@id": author.id} for author in authors],
            "datePublished": str(work["year"]),
            "description": "; ".join(work[key] for key in ("kind", "where") if key in work),
        }
        properties |= {name: work[key] for name, key in OPTIONAL_OF_WORKS.items() if key in work}
        works[name] = crate.add(ContextEntity(crate, f"#work-{name}", properties))
    crate.root_dataset["mentions"] = [{"@id": work.id} for work in works.values()]
    return works


def _add_actions(
    crate: ROCrate,
    study: str,
    job: str,
    runs: Sequence[records.RunRecord],
    sources: Sequence[str],
    results: Sequence[str],
) -> None:
    """Add an action for each provenance of a record: software, device, code, data and seconds.

    Args:
        crate: to which they are added.
        study: the full name of the study.
        job: the name of the record.
        runs: of the record.
        sources, results: identifiers of what was used and written.
    """
    provenances = [run.provenance for run in runs]
    different = [provenance for i, provenance in enumerate(provenances) if provenance not in provenances[:i]]
    for number, provenance in enumerate(different, 1):
        same_runs = [run for run in runs if run.provenance == provenance]
        seconds = sum(sum(run.seconds.values()) for run in same_runs)
        properties = {
            "@type": "CreateAction",
            "name": f"{study}: {len(same_runs)} runs",
            "description": f"on {provenance.get('device')}, {provenance.get('threads')} CPU threads, "
            f"{seconds:.0f} seconds; {describe_code(provenance)}; "
            f"data of SHA-256 {provenance.get('data_sha256') or 'unknown'}",
            "instrument": [{"@id": "Snakefile"}, *({"@id": item.id} for item in _add_software(crate, provenance))],
            "object": [{"@id": identifier} for identifier in sources],
            "result": [{"@id": identifier} for identifier in results],
        }
        crate.add(ContextEntity(crate, f"#training-{study.replace('/', '-')}-{job}-{number}", properties))


def _add_software(crate: ROCrate, provenance: Mapping[str, Any]) -> list[ContextEntity]:
    """Add the packages of a provenance whose version is known; return their entities."""
    return [
        crate.add(
            ContextEntity(
                crate,
                f"#{name}-{version}",
                {"@type": "SoftwareApplication", "name": name, "softwareVersion": version},
            )
        )
        for name, version in (provenance.get("packages") or {}).items()
        if version
    ]


def _slug(text: str) -> str:
    return "-".join(text.lower().split())
