"""From YAML files to studies that are validated as a whole."""

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from goodinit.errors import InputError, nearest
from goodinit.studies import strict_yaml, validation
from goodinit.studies.outputs import Claim, FigureSpec, Measure, Reported
from goodinit.studies.search import Distribution, RandomSearch, Ranking
from goodinit.studies.study import SCALES, Study

__all__ = ["find", "load", "load_all", "works"]

# The keys of a study that are its fields as they are written.
UNCHANGED = (
    "title",
    "question",
    "fixed",
    "compare",
    "conditions",
    "seeds",
    "deterministic",
    "pack",
    "resources",
    "revision",
    "scales",
    "deviations",
)


def works(configs: str | Path) -> tuple[str, ...]:
    """Return the names of the works: the folders below `configs` that contain studies."""
    return tuple(sorted(path.name for path in Path(configs).glob("*/") if any(path.glob("*.yaml"))))


def load_all(configs: str | Path, chosen: Collection[str] = ()) -> list[Study]:
    """Load all studies, or those chosen.

    Args:
        configs: the folder of studies.
        chosen: names of works or, as `<work>/<study>`, of studies.

    Raises:
        InputError: there is no such folder, work or study, or a study is not valid.
    """
    available = works(configs)
    if not available:
        raise InputError(f"{configs}: no studies: expected files like {configs}/<work>/<study>.yaml")
    selected = []
    for name in chosen or available:
        if "/" in name:
            selected.append(find(configs, name))
        elif name in available:
            selected += [load(path) for path in sorted((Path(configs) / name).glob("*.yaml"))]
        else:
            raise InputError(f"works: unknown work {name!r}{nearest(name, available)}")
    return list({study.full_name: study for study in selected}.values())


def find(configs: str | Path, name: str) -> Study:
    """Load the study called `<work>/<study>`.

    Raises:
        InputError: there is no such study, or it is not valid.
    """
    work, _, study = name.partition("/")
    if work not in works(configs):
        raise InputError(f"{name}: unknown work {work!r}{nearest(work, works(configs))}")
    available = [path.stem for path in (Path(configs) / work).glob("*.yaml")]
    if study not in available:
        raise InputError(f"{name}: unknown study {study!r} of {work}{nearest(study, available)}")
    return load(Path(configs) / work / f"{study}.yaml")


def load(path: str | Path) -> Study:
    """Load one study and validate all of it, at every scale.

    Raises:
        InputError: a key, name, option or value is unknown, missing or of the wrong type; the message names the file
            and the key.
    """
    path = Path(path)
    if not re.fullmatch("[a-z][a-z0-9_]*", path.stem):
        raise InputError(f"{path}: the file name of a study has lowercase letters, digits and underscores only")
    body = strict_yaml.read(path)
    try:
        study = _parse(path, strict_yaml.validate(body, "study"))
        validation.check_study(study, SCALES)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return study


def _parse(path: Path, body: Mapping[str, Any]) -> Study:
    """Return the study that the content of a file describes.

    Raises:
        InputError: the work that the content names is not the folder's name.
    """
    work = path.parent.name
    if body["source"]["work"] != work:
        raise InputError(f"source.work: {body['source']['work']!r} is not the name of the folder, {work!r}")
    return Study(
        work=work,
        name=path.stem,
        path=path,
        source=body["source"]["where"],
        own_protocol=body["source"].get("protocol") == "ours",
        search=_search(body["tune"]) if "tune" in body else None,
        table=tuple(Measure(**measure) for measure in body["table"]),
        figure_specs={name: _figure(options) for name, options in body.get("figures", {}).items()},
        reported=tuple(Reported(**reported) for reported in body.get("reported", [])),
        claims=tuple(_claim(claim) for claim in body.get("claims", [])),
        **{key: body[key] for key in UNCHANGED if key in body},
    )


def _search(tune: Mapping[str, Any]) -> RandomSearch:
    distributions = {}
    for path, written in tune["draw"].items():
        ((kind, (low, high)),) = written.items()
        distributions[path] = Distribution(kind, low, high)
    return RandomSearch(tune["trials"], distributions, Ranking(**tune["choose"]) if "choose" in tune else None)


def _figure(written: Mapping[str, Any]) -> tuple[FigureSpec, str | None]:
    options = dict(written)
    kind, axis, title = options.pop("kind"), options.pop("each", None), options.pop("title", None)
    return FigureSpec(kind, where=options.pop("where", {}), options=options, title=title), axis


def _claim(written: Mapping[str, Any]) -> Claim:
    ((predicate, given),) = written["test"].items()
    options = {name: value for name, value in given.items() if value is not None}  # null is no option: the default
    fields = {key: value for key, value in written.items() if key != "test"}
    return Claim(predicate=predicate, options=options, **fields)
