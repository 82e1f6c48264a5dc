"""Each room imports only what it may know."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from checkout import ROOT

import goodinit

SOURCE = ROOT / "src" / "goodinit"
LEAVES = {f"goodinit.{name}" for name in ("errors", "files", "processes", "seeds", "standard_streams", "steps")}
ALLOWED = {  # room: what it may import beside the standard library and itself
    "": {"goodinit.errors", "filelock"},  # the leaves, and the package itself
    "methods": {"torch", "numpy", "goodinit.errors", "goodinit.seeds", "goodinit.steps", "goodinit.transfer"},
    "datasets": LEAVES | {"numpy", "torch", "torchvision", "PIL", "sklearn", "tqdm", "goodinit.transfer"},
    "records": LEAVES | {"numpy"},
    "studies": LEAVES | {"ruamel", "jsonschema", "goodinit.records", "goodinit.datasets.catalog"},
    "training": LEAVES
    | {"torch", "numpy", "tqdm", "filelock", "goodinit.transfer"}
    | {f"goodinit.{name}" for name in ("methods", "datasets", "records", "studies")},
    "report": LEAVES
    | {"numpy", "pandas", "scipy", "matplotlib", "seaborn", "jinja2", "rocrate"}
    | {"goodinit.records", "goodinit.studies"},
    "cli": {"goodinit", "pandas", "ruamel"},
}
NARROWER = {  # file: what it may import instead
    "__init__.py": {"goodinit.methods"},  # on first use
    "__main__.py": {"goodinit.cli.main"},
    "datasets/catalog.py": {"goodinit.errors"},
    "transfer.py": {"torch"},
    "training/history.py": {"torch", "numpy"},
    "training/loop.py": {
        "torch",
        "numpy",
        "goodinit.methods.contracts",
        "goodinit.steps",
        "goodinit.studies.training",
        "goodinit.training.devices",
        "goodinit.training.history",
    },
    "training/precision.py": {"torch"},
    "training/stacking.py": {"torch", "goodinit.methods.contracts"},
    "training/torch_state.py": {"torch", "goodinit.training.precision"},
    "training/callbacks.py": {
        "torch",
        "numpy",
        "goodinit.methods.contracts",
        "goodinit.steps",
        "goodinit.studies.training",
        "goodinit.training.loop",
    },
}
FILES = sorted(path.relative_to(SOURCE).as_posix() for path in SOURCE.rglob("*.py"))


def _imported(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module == "goodinit":
            yield from (f"goodinit.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module.count(".") == 1 and node.module.startswith("goodinit."):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module


@pytest.mark.parametrize("file", FILES)
def test_imports_only_what_it_may(file):
    room = file.rpartition("/")[0].partition("/")[0]
    allowed = NARROWER.get(file, ALLOWED[room] | ({f"goodinit.{room}"} if room else set()))
    for name in _imported(ast.parse((SOURCE / file).read_text())):
        if name.split(".")[0] not in sys.stdlib_module_names:
            assert any(name == module or name.startswith(f"{module}.") for module in allowed), name


def test_every_folder_is_a_room():
    assert {path.parts[0] for path in map(Path, FILES) if len(path.parts) > 1} == set(ALLOWED) - {""}


@pytest.mark.parametrize("file", FILES)
def test_uses_no_private_name_of_another_module(file):
    tree = ast.parse((SOURCE / file).read_text())
    modules = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("goodinit"):
            assert not [alias.name for alias in node.names if alias.name.startswith("_")]
            modules |= {alias.asname or alias.name for alias in node.names}
    private = [
        ast.unparse(node)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules
        if node.attr.startswith("_") and not node.attr.startswith("__")
    ]
    assert not private


@pytest.mark.parametrize(
    "module", ["datasets.catalog", "studies", "records", "report.tables", "report.figures", "report.claims", "cli.main"]
)
def test_is_imported_without_torch(module):
    code = f"import sys, goodinit.{module}; dir(goodinit); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("module", ["cli.main", "report.build", "report.claims", "report.compare", "report.pages"])
def test_is_imported_without_matplotlib(module):
    code = f"import sys, goodinit.{module}; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("file", FILES)
def test_names_in_all_exist(file):
    tree = ast.parse((SOURCE / file).read_text())
    conditional = [child for node in tree.body if isinstance(node, ast.If) for child in node.body]  # TYPE_CHECKING
    names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    for node in [*tree.body, *conditional]:
        if isinstance(node, ast.ImportFrom):
            names |= {alias.name for alias in node.names}
        if isinstance(node, ast.Assign):
            names |= {ast.unparse(target) for target in node.targets}
        if isinstance(node, ast.AnnAssign):
            names.add(ast.unparse(node.target))
    listed = [node for node in tree.body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"]
    assert not listed or set(ast.literal_eval(listed[0].value)) <= names


@pytest.mark.parametrize("name", sorted({*goodinit.__all__} - {"__version__"}))
def test_public_names_are_imported_when_they_are_used(name):
    assert callable(getattr(goodinit, name))
    assert name in dir(goodinit)
