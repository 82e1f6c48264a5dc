"""What the functions behind a study's names accept, read from the source without importing torch."""

import ast
import functools
from pathlib import Path

from goodinit.errors import InputError, nearest

__all__ = ["check", "constant", "fill"]

# The part of a run, and the module whose `__all__` lists the names that it may have.
MODULES = {
    "data": "methods/data/__init__.py",
    "model": "methods/models/__init__.py",
    "init": "methods/initializers/__init__.py",
    "objective": "methods/objectives.py",
    "optimizer": "methods/optimizers.py",
    "schedule": "methods/schedules.py",
    "update": "methods/updates.py",
    "curriculum": "methods/curricula/__init__.py",
    "diagnostics": "methods/diagnostics/__init__.py",
    "figure": "report/figures.py",
    "test": "report/claims.py",
}
# Parts without a name: their options are the fields of one class.
CLASSES = {"training": ("training/loop.py", "Training")}

_REQUIRED = object()


def check(part, options):
    """Raise InputError unless `options`, {"name": ..., option: value}, fits the part's signature."""
    if not isinstance(options, dict):
        raise InputError(f"{part}: {options!r} is neither a name nor options")
    options = dict(options)
    if part in CLASSES:
        signature, label = _fields(*CLASSES[part]), part
    else:
        name = options.pop("name", None)
        known = _functions(MODULES[part])
        if name is None:
            raise InputError(f"{part}: the name is missing{nearest('', known)}")
        if not isinstance(name, str) or name not in known:
            raise InputError(f"{part}: unknown name {name!r}{nearest(name, known)}")
        signature, label = known[name], f"{part}.{name}"
    for key, value in options.items():
        if key not in signature:
            raise InputError(f"{label}: unknown option {key!r}{nearest(key, signature)}")
        annotation, _ = signature[key]
        if not _fits(value, annotation):
            wanted = ast.unparse(annotation).removeprefix("Literal")
            mend = nearest(value, _literals(annotation)) if _literals(annotation) else ""
            raise InputError(f"{label}: {key}: {value!r} is not {wanted}{mend}")
    missing = [key for key, (_, default) in signature.items() if default is _REQUIRED and key not in options]
    if missing:
        raise InputError(f"{label}: {missing[0]} is missing")


def fill(part, options):
    """Return the options with every default of the signature filled in."""
    signature = _fields(*CLASSES[part]) if part in CLASSES else _functions(MODULES[part])[options["name"]]
    return {key: default for key, (_, default) in signature.items() if default is not _REQUIRED} | options


@functools.cache
def constant(file, name):
    """Return the literal that a module, named by its file in the package, gives to a constant."""
    return next(
        ast.literal_eval(node.value)
        for node in _tree(file).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name
    )


@functools.cache
def _tree(file):
    return ast.parse((Path(__file__).parent / file).read_text(encoding="utf-8"))


@functools.cache
def _functions(file):
    """Return {name: {option: (annotation, default)}} for the functions in a module's `__all__`."""
    body = _tree(file).body
    listed = constant(file, "__all__")
    found = {node.name: _options(node.args) for node in body if isinstance(node, ast.FunctionDef)}
    package = f"goodinit.{file.removesuffix('/__init__.py').replace('/', '.')}."
    for node in body:  # a package lists what it imports from its own modules
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(package):
            found |= _functions(f"{node.module.removeprefix('goodinit.').replace('.', '/')}.py")
    return {name: found[name] for name in listed if name in found}


def _options(arguments):
    """Return the annotated keyword-only arguments: those without an annotation are the caller's."""
    pairs = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    return {
        argument.arg: (argument.annotation, _REQUIRED if default is None else _literal(default))
        for argument, default in pairs
        if argument.annotation is not None
    }


@functools.cache
def _fields(file, name):
    """Return {field: (annotation, default)} of a class."""
    body = next(node.body for node in _tree(file).body if isinstance(node, ast.ClassDef) and node.name == name)
    fields = (node for node in body if isinstance(node, ast.AnnAssign))
    return {
        node.target.id: (node.annotation, _REQUIRED if node.value is None else _literal(node.value)) for node in fields
    }


def _literal(node):
    value = ast.literal_eval(node)
    return list(value) if isinstance(value, tuple) else value


def _literals(annotation):
    """Return the values of a Literal annotation, or ()."""
    if isinstance(annotation, ast.Subscript) and ast.unparse(annotation.value) == "Literal":
        values = ast.literal_eval(annotation.slice)
        return values if isinstance(values, tuple) else (values,)
    return ()


def _fits(value, annotation):
    """Say whether a value from YAML is of the annotated type; an integer is a float, a bool is neither."""
    if isinstance(annotation, ast.BinOp):
        return _fits(value, annotation.left) or _fits(value, annotation.right)
    if isinstance(annotation, ast.Subscript):
        if _literals(annotation):
            return value in _literals(annotation)
        if ast.unparse(annotation.value) == "dict":
            kinds = annotation.slice.elts
            return isinstance(value, dict) and all(all(map(_fits, item, kinds)) for item in value.items())
        return isinstance(value, list) and all(_fits(item, annotation.slice) for item in value)
    kind = ast.unparse(annotation)
    if kind in ("int", "float"):
        return isinstance(value, int if kind == "int" else int | float) and not isinstance(value, bool)
    kinds = {"None": type(None), "bool": bool, "str": str, "dict": dict, "list": list}
    return isinstance(value, kinds[kind])
