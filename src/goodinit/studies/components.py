"""Which function serves which part of a study, and what options it accepts; without importing torch.

A part of a run, a figure or a claim's test names a function.  The options that a study may set are the function's
keyword-only arguments, their types its annotations, and their defaults its signature's.  They are read from the source
text, so that a study is validated where torch is not installed; `resolve` imports the function.
"""

import ast
import functools
import importlib
import importlib.resources
from collections.abc import Callable, Mapping
from typing import Any

from goodinit.errors import InputError, nearest

__all__ = ["MODULES", "check", "fill", "resolve"]

# The part of a study, and the module whose `__all__` lists the functions that it may name.
MODULES = {
    "data": "goodinit.datasets.sets",
    "model": "goodinit.methods.models",
    "init": "goodinit.methods.initializers",
    "objective": "goodinit.methods.objectives",
    "optimizer": "goodinit.methods.optimizers",
    "schedule": "goodinit.methods.schedules",
    "update": "goodinit.methods.updates",
    "curriculum": "goodinit.methods.curricula",
    "diagnostics": "goodinit.methods.diagnostics",
    "figure": "goodinit.report.figures",
    "test": "goodinit.report.predicates",
}
# Parts without a name: their options are the fields of a dataclass.
CLASSES = {"training": ("goodinit.studies.training", "Training")}

# Types of options that have a name, in full.
ALIASES = {
    "At": ast.parse("str | int | dict[str, int]", mode="eval").body,
    "Where": ast.parse("dict[str, str | int | float | bool | list]", mode="eval").body,
}

# What a message calls these types.
DESCRIPTIONS = {
    "At": "last, lowest, a step, {last: how many steps} or {from: step, to: step}",
    "Where": "{axis: label or list of labels}",
}

_REQUIRED = object()

Signature = Mapping[str, tuple[ast.expr, Any]]  # {option: (annotation, default or _REQUIRED)}


def resolve(part: str, name: str) -> Callable[..., Any]:
    """Import and return the function that serves a part of a study under a name.

    Raises:
        InputError: there is no such function.
    """
    _signature(part, name)
    function: Callable[..., Any] = getattr(importlib.import_module(MODULES[part]), name)
    return function


def check(part: str, options: Any) -> None:
    """Raise InputError unless `options`, {"name": ..., option: value}, fits the part's signature."""
    if not isinstance(options, dict):
        raise InputError(f"{part}: {options!r} is neither a name nor options")
    options = dict(options)
    if part in CLASSES:
        signature, label = _fields(*CLASSES[part]), part
    else:
        name = options.pop("name", None)
        signature, label = _signature(part, name), f"{part}.{name}"
    for key, value in options.items():
        if key not in signature:
            raise InputError(f"{label}: unknown option {key!r}{nearest(key, signature)}")
        annotation, _ = signature[key]
        if not _fits(value, annotation):
            words = _words(annotation)
            wrong = [item for item in (value if isinstance(value, list) else [value]) if item not in words]
            hint = nearest(wrong[0], words) if words and wrong else ""
            raise InputError(f"{label}: {key}: {value!r} is not {_description(annotation)}{hint}")
    missing = [key for key, (_, default) in signature.items() if default is _REQUIRED and key not in options]
    if missing:
        raise InputError(f"{label}: {missing[0]} is missing")


def fill(part: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options with every default of the signature filled in."""
    signature = _fields(*CLASSES[part]) if part in CLASSES else _signature(part, options["name"])
    return {key: default for key, (_, default) in signature.items() if default is not _REQUIRED} | dict(options)


def _signature(part: str, name: Any) -> Signature:
    """Return the signature of the function that serves a part under a name.

    Raises:
        InputError: there is no such function.
    """
    functions = _functions(MODULES[part])
    if name is None:
        raise InputError(f"{part}: the name is missing{nearest('', functions)}")
    if not isinstance(name, str) or name not in functions:
        raise InputError(f"{part}: unknown name {name!r}{nearest(name, functions)}")
    return functions[name]


@functools.cache
def _functions(module: str) -> dict[str, Signature]:
    """Return the signatures of the functions in a module's `__all__`, also of those that it imports."""
    body = _tree(module).body
    signatures = {node.name: _options(node.args) for node in body if isinstance(node, ast.FunctionDef)}
    for node in body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{module}."):
            signatures |= _functions(str(node.module))
    listed = next(
        ast.literal_eval(node.value)
        for node in body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    )
    return {name: signatures[name] for name in listed if name in signatures}


@functools.cache
def _fields(module: str, name: str) -> Signature:
    """Return the fields of a dataclass as a signature."""
    body = next(node.body for node in _tree(module).body if isinstance(node, ast.ClassDef) and node.name == name)
    return {
        ast.unparse(node.target): (node.annotation, _REQUIRED if node.value is None else _literal(node.value))
        for node in body
        if isinstance(node, ast.AnnAssign)
    }


@functools.cache
def _tree(module: str) -> ast.Module:
    """Return the syntax tree of a module of this package, which is not imported."""
    *folders, name = module.split(".")[1:]
    folder = importlib.resources.files("goodinit").joinpath(*folders)
    file = folder / name / "__init__.py" if (folder / name).is_dir() else folder / f"{name}.py"
    return ast.parse(file.read_text(encoding="utf-8"))


def _options(arguments: ast.arguments) -> Signature:
    """Return the keyword-only arguments, which are the options; positional arguments are the contract."""
    return {
        argument.arg: (argument.annotation or ast.Constant(None), _REQUIRED if default is None else _literal(default))
        for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    }


def _literal(node: ast.expr) -> Any:
    value = ast.literal_eval(node)
    return list(value) if isinstance(value, tuple) else value


def _literals(annotation: ast.expr) -> tuple[Any, ...]:
    """Return the values of a Literal annotation, or ()."""
    if isinstance(annotation, ast.Subscript) and ast.unparse(annotation.value) == "Literal":
        values = ast.literal_eval(annotation.slice)
        return values if isinstance(values, tuple) else (values,)
    return ()


def _words(annotation: ast.expr) -> list[Any]:
    """Return the values of the Literals in an annotation: of its alternatives, or of the items of a list."""
    if isinstance(annotation, ast.BinOp):
        return _words(annotation.left) + _words(annotation.right)
    if (item := _item(annotation)) is not None:
        return _words(item)
    return list(_literals(annotation))


def _description(annotation: ast.expr) -> str:
    """Return an annotation as a message writes it, in the terms of YAML."""
    if isinstance(annotation, ast.BinOp):
        return f"{_description(annotation.left)} | {_description(annotation.right)}"
    if (item := _item(annotation)) is not None:
        return f"a list of {list(_literals(item))}" if _literals(item) else f"list[{_description(item)}]"
    name = ast.unparse(annotation)
    return str(list(_literals(annotation))) if _literals(annotation) else DESCRIPTIONS.get(name, name)


def _item(annotation: ast.expr) -> ast.expr | None:
    """Return the annotation of the items of a list, or None if it is not that of a list."""
    if isinstance(annotation, ast.Subscript) and ast.unparse(annotation.value) in ("list", "Sequence"):
        return annotation.slice
    return None


def _fits(value: Any, annotation: ast.expr) -> bool:
    """Return whether a value from YAML is of the annotated type; an integer is a float, a bool is neither."""
    annotation = ALIASES.get(ast.unparse(annotation), annotation)
    if isinstance(annotation, ast.BinOp):
        return _fits(value, annotation.left) or _fits(value, annotation.right)
    if isinstance(annotation, ast.Subscript):
        if _literals(annotation):
            return value in _literals(annotation)
        if isinstance(annotation.slice, ast.Tuple):  # dict[key, value]
            annotations = annotation.slice.elts
            return isinstance(value, dict) and all(all(map(_fits, item, annotations)) for item in value.items())
        return isinstance(value, list) and all(_fits(item, annotation.slice) for item in value)
    name = ast.unparse(annotation)
    if name in ("int", "float"):
        return isinstance(value, int if name == "int" else int | float) and not isinstance(value, bool)
    types = {"None": type(None), "bool": bool, "str": str, "dict": dict, "list": list}
    return isinstance(value, types[name])
