"""Strict YAML 1.2: no repeated keys, no dates, no infinite numbers, and a schema for every file."""

import functools
import importlib.resources
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jsonschema
from jsonschema.exceptions import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError, SafeConstructor
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from goodinit.errors import InputError, nearest

__all__ = ["read", "read_valid", "validate"]

MAX_INTEGER = 2**63 - 1  # what NumPy and PyTorch hold
LIMITS = {"minimum": "at least", "maximum": "at most", "exclusiveMinimum": "more than"}  # keywords of a schema


def read(path: str | Path) -> dict[str, Any]:
    """Read a YAML file of keys and values.

    Raises:
        InputError: the file cannot be read, is not valid YAML, repeats a key, or contains a value that a record cannot
            hold.
    """
    path = Path(path)
    try:
        content = _yaml().load(path.read_text(encoding="utf-8"))
        _check_values(content)
    except DuplicateKeyError as error:
        line = error.problem_mark.line + 1
        raise InputError(f"{path}: line {line}: {error.problem}: remove one of the two") from None
    except MarkedYAMLError as error:
        line = (error.context_mark or error.problem_mark).line + 1
        raise InputError(f"{path}: line {line}: not YAML: {error.context or ''} {error.problem}") from None
    except YAMLError as error:
        raise InputError(f"{path}: not YAML: {error}") from None
    except RecursionError:
        raise InputError(f"{path}: nested too deeply, or a value contains itself: write it out") from None
    except ValueError as error:  # from `_check_values`, from decoding, or from a value with an explicit tag
        raise InputError(f"{path}: {error}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    if not isinstance(content, dict):
        kind = "nothing" if content is None else type(content).__name__
        raise InputError(f"{path}: expected keys and values, not {kind}")
    return content


def read_valid(path: str | Path, name: str) -> dict[str, Any]:
    """Read a YAML file, and check it against `schemas/<name>.schema.yaml`.

    Raises:
        InputError: as in `read` and `validate`; the message names the file.
    """
    content = read(path)
    try:
        return validate(content, name)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def validate(content: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Check content against `schemas/<name>.schema.yaml`; return it with the defaults of the top level.

    Raises:
        InputError: a key is unknown or missing, or a value is wrong.
    """
    validator = _validator(name)
    error = jsonschema.exceptions.best_match(validator.iter_errors(content), key=_relevance)
    if error is not None:
        raise InputError(_message(error))
    schema: Any = validator.schema
    defaults = {key: item["default"] for key, item in schema.get("properties", {}).items() if "default" in item}
    return {**defaults, **content}


def _message(error: ValidationError) -> str:
    """Return what is wrong, where, and what is allowed."""
    location = ".".join(map(str, error.absolute_path))
    prefix = f"{location}: " if location else ""
    schema: Any = error.schema
    if error.validator == "additionalProperties":
        content: Any = error.instance
        key = next(key for key in content if key not in schema["properties"])
        return f"{prefix}unknown key {key!r}{nearest(key, schema['properties'])}"
    if error.validator == "enum":
        return f"{prefix}{error.instance!r} is not known{nearest(error.instance, schema['enum'])}"
    if error.validator in LIMITS:
        return f"{prefix}must be {LIMITS[error.validator]} {error.validator_value}, not {error.instance!r}"
    if "description" in schema:
        return f"{prefix}{error.instance!r} is not {schema['description']}"
    return f"{prefix}{error.message}"


def _relevance(error: ValidationError) -> Any:
    """Return the sort key of jsonschema, with the path as text, since keys and indices cannot be compared."""
    relevance: Any = jsonschema.exceptions.relevance(error)
    depth, _, *others = relevance
    return depth, [str(key) for key in error.path], *others


def _check_values(value: Any, path: tuple[str, ...] = ()) -> None:
    """Reject what a record cannot hold, and keys that are not text, except for labels.

    Raises:
        InputError: the message names the key.
    """
    location = f"{'.'.join(path)}: " if path else ""
    if isinstance(value, dict):
        for key, item in value.items():
            number = isinstance(key, int | float) and not isinstance(key, bool)
            if not isinstance(key, str) and not (number and _has_labels(path)):
                raise InputError(f"{location}the key {key!r} is not text: write it in quotes")
            _check_values(item, (*path, str(key)))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _check_values(item, (*path, str(index)))
    elif isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{location}{value} cannot be recorded: write a finite number, such as 1e30")
    elif isinstance(value, int) and not -MAX_INTEGER <= value <= MAX_INTEGER:
        raise InputError(f"{location}the integer has more than 64 bits: write a smaller number")
    elif not isinstance(value, str | int | float | None):
        raise InputError(f"{location}a {type(value).__name__} cannot be recorded: write text, a number, a list or keys")


def _has_labels(path: tuple[str, ...]) -> bool:
    """Return whether the keys at a path are labels: of `conditions`, or of an axis of `compare`."""
    compared = path[-2:-1] == ("compare",) or (path[-1:] and path[-1].startswith("compare."))
    return bool(compared or path[-1:] == ("conditions",))


class _Constructor(SafeConstructor):
    """Constructs dates as text."""


_Constructor.add_constructor("tag:yaml.org,2002:timestamp", SafeConstructor.construct_yaml_str)


def _yaml() -> YAML:
    yaml = YAML(typ="safe", pure=True)  # only the pure parser knows YAML 1.2, in which 1e-3 is a number
    yaml.Constructor = _Constructor
    return yaml


def _is_integer(checker: object, value: object) -> bool:
    """Return whether a value is an integer; unlike in JSON, 1.0 is not."""
    return isinstance(value, int) and not isinstance(value, bool)


@functools.cache
def _validator(name: str) -> jsonschema.protocols.Validator:
    schemas = importlib.resources.files("goodinit.studies") / "schemas"
    schema = _yaml().load((schemas / f"{name}.schema.yaml").read_text(encoding="utf-8"))
    base = jsonschema.Draft202012Validator
    checker = base.TYPE_CHECKER.redefine("integer", _is_integer)
    extend: Callable[..., type[jsonschema.protocols.Validator]] = jsonschema.validators.extend
    return extend(base, type_checker=checker)(schema)
