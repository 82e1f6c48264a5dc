"""Strict documents: YAML without surprises, held against a schema."""

import functools
import math
import re
from pathlib import Path

import jsonschema
import yaml

from goodinit.errors import InputError, nearest

__all__ = ["read", "validate"]

SCHEMAS = Path(__file__).parent / "schemas"


def read(path):
    """Read a YAML file of keys and values.

    Raises:
        InputError: it cannot be read, is not YAML, has a key twice or a number that YAML takes for text.
    """
    path = Path(path)
    try:
        body = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not YAML: {error}") from None
    except RecursionError:
        raise InputError(f"{path}: nested too deeply") from None
    except ValueError as error:  # ours, of the encoding, or of a value with an explicit tag
        raise InputError(f"{path}: {error}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    if not isinstance(body, dict):
        found = "nothing" if body is None else type(body).__name__
        raise InputError(f"{path}: expected keys and values, found {found}")
    try:
        _refuse_text_numbers(body)
    except RecursionError:
        raise InputError(f"{path}: something in it holds itself: write it out") from None
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return body


def validate(body, name):
    """Check a document against schemas/<name>.schema.yaml; return it with the top-level defaults.

    Raises:
        InputError: a key is unknown or missing, or a value is wrong.
    """
    validator = _validator(name)
    error = jsonschema.exceptions.best_match(validator.iter_errors(body), key=_relevance)
    if error is not None:
        place = ".".join(map(str, error.absolute_path))
        at = f"{place}: " if place else ""
        if error.validator == "additionalProperties":
            allowed = error.schema["properties"]
            key = next(key for key in error.instance if key not in allowed)
            raise InputError(f"{at}unknown key {key!r}{nearest(key, allowed)}")
        if error.validator == "enum":
            raise InputError(f"{at}{error.instance!r} is not known{nearest(error.instance, error.validator_value)}")
        if "description" in error.schema:
            raise InputError(f"{at}{error.instance!r} is not {error.schema['description']}")
        raise InputError(f"{at}{error.message}")
    defaults = {key: item["default"] for key, item in validator.schema["properties"].items() if "default" in item}
    return defaults | body


def _relevance(error):
    """Return jsonschema's own key, but for the path: its keys and positions cannot be compared with each other."""
    depth, _, *rest = jsonschema.exceptions.relevance(error)
    return depth, [str(key) for key in error.path], *rest


class _Loader(yaml.SafeLoader):
    """YAML that refuses a key written twice, and to which a date is text like any other."""

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise InputError(f"line {node.start_mark.line + 1}: the key {key!r} stands twice")
        return super().construct_mapping(node, deep)


_Loader.add_constructor("tag:yaml.org,2002:timestamp", yaml.SafeLoader.construct_yaml_str)


def _refuse_text_numbers(value, key=""):
    """YAML reads 1e-3 as text, and JSON has no infinity: say so before it becomes a riddle."""
    if isinstance(value, dict):
        for name, item in value.items():
            label = (
                isinstance(name, int | float) and not isinstance(name, bool) and re.search("compare|conditions", key)
            )
            if not isinstance(name, str) and not label:
                raise InputError(f"{key}: the key {name!r} is not text: write it in quotes".lstrip(": "))
            _refuse_text_numbers(item, f"{key}.{name}".lstrip("."))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _refuse_text_numbers(item, f"{key}.{index}")
    elif isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{key}: {value} cannot be recorded: write a finite number, such as 1.0e+30")
    elif isinstance(value, str) and re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)[eE][+-]?\d+", value):
        mantissa, exponent = f"{float(value):.15e}".split("e")
        mend = f"{mantissa.rstrip('0').rstrip('.')}{'' if '.' in mantissa.rstrip('0').rstrip('.') else '.0'}"
        raise InputError(f"{key}: {value!r} is text in YAML: write {mend}e{exponent[0]}{int(exponent[1:])}")


def _is_integer(checker, value):
    return isinstance(value, int) and not isinstance(value, bool)


# In JSON 1.0 is an integer, too; here it is not, as nothing can be counted with it.
_Validator = jsonschema.validators.extend(
    jsonschema.Draft202012Validator,
    type_checker=jsonschema.Draft202012Validator.TYPE_CHECKER.redefine("integer", _is_integer),
)


@functools.cache
def _validator(name):
    schema = yaml.safe_load((SCHEMAS / f"{name}.schema.yaml").read_text(encoding="utf-8"))
    return _Validator(schema)
