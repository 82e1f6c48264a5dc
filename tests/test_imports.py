"""Each room imports only what it may know."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import goodinit

SOURCE = Path(__file__).parents[1] / "src" / "goodinit"
PLAIN = {"numpy", "yaml", "jsonschema"}
REPORT = {"numpy", "pandas", "scipy", "matplotlib", "seaborn"}
ALLOWED = {  # module: what it may import beside the standard library; the first pattern that matches counts
    "methods/data/*.py": {"torch", "goodinit.prepared", "goodinit.methods.data"},
    "methods/diagnostics/__init__.py": {"goodinit.methods.diagnostics"},
    "methods/diagnostics/*.py": {"torch", "numpy", "goodinit.methods.diagnostics.probe"},
    "methods/models/__init__.py": {"goodinit.methods.models"},
    "methods/curricula/sampler.py": {"torch", "goodinit.methods.curricula", "goodinit.errors", "goodinit.streams"},
    "methods/curricula/*.py": {"torch", "goodinit.methods.curricula", "goodinit.methods.data.examples"},
    "methods/semi_synchronous.py": {"torch", "goodinit.methods.neuron_groups", "goodinit.errors"},
    "methods/updates.py": {"torch", "goodinit.methods.neuron_groups"},
    "methods/neuron_groups.py": {"torch", "goodinit.errors"},
    "methods/initializers/*.py": {"torch", "numpy", "goodinit.errors"}
    | {f"goodinit.methods.{name}" for name in ("initializers", "layers")},
    "methods/layers.py": {"torch", "goodinit.errors"},
    "methods/parameter_groups.py": {"torch", "goodinit.errors"},
    "methods/optimizers.py": {"torch", "goodinit.methods.parameter_groups"},
    "methods/*.py": {"torch", "numpy"},
    "methods/models/*.py": {"torch", "goodinit.methods.models.caffe", "goodinit.methods.models.dropout"},
    "report/*.py": REPORT
    | {f"goodinit.{name}" for name in ("report", "spec", "record", "errors", "protocol", "processes")},
    "training/loop.py": {"torch", "numpy"},
    "training/precision.py": {"torch"},
    "training/stacking.py": {"torch"},
    "training/callbacks.py": {"torch", "numpy", "goodinit.training.loop"},
    "training/*.py": {"torch", "numpy", "tqdm"}
    | {
        f"goodinit.{name}"
        for name in (
            "training",
            "methods",
            "spec",
            "record",
            "provenance",
            "catalog",
            "prepared",
            "settings",
            "signatures",
            "standard_streams",
            "errors",
        )
    },
    "export.py": {"rocrate", "goodinit.documents", "goodinit.record", "goodinit.errors"},
    "cost.py": {"torch"}
    | {f"goodinit.{name}" for name in ("runner", "catalog", "methods", "settings", "signatures", "errors")},
    "commands.py": {"torch", "pandas", "tqdm", "yaml", "goodinit"},
    "cli.py": {"goodinit.commands", "goodinit.errors", "goodinit.standard_streams"},
    "__main__.py": {"goodinit.cli"},
    "prepared.py": {"numpy"}
    | {f"goodinit.{name}" for name in ("catalog", "download", "embedded", "image_folder", "pictures", "errors")},
    "download.py": {"numpy", "torchvision", "goodinit.catalog"},
    "embedded.py": {"numpy", "torch", "sklearn", "PIL", "goodinit.catalog"},
    "pictures.py": {"numpy", "PIL", "goodinit.decode", "goodinit.image_folder", "goodinit.errors"},
    "decode.py": {"numpy", "PIL", "tqdm", "goodinit.processes"},
    "image_folder.py": set(),
    "catalog.py": {"goodinit.errors"},
    "processes.py": set(),
    "standard_streams.py": set(),
    "provenance.py": set(),
    "errors.py": set(),
    "streams.py": set(),
    "signatures.py": {"goodinit.errors"},
    "documents.py": PLAIN | {"goodinit.errors"},
    "record.py": PLAIN | {"goodinit.errors"},
    "settings.py": {"goodinit.errors", "goodinit.documents"},
    "protocol.py": set(),
    "checks.py": {f"goodinit.{name}" for name in ("errors", "record", "catalog", "signatures")},
    "spec.py": PLAIN | {f"goodinit.{name}" for name in ("errors", "documents", "checks", "signatures", "streams")},
    "__init__.py": set(),
}
FILES = sorted(path.relative_to(SOURCE).as_posix() for path in SOURCE.rglob("*.py"))


def _imported(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from names if node.module in ("goodinit", "goodinit.methods", "goodinit.report") else [node.module]


@pytest.mark.parametrize("file", FILES)
def test_imports_only_what_it_may(file):
    allowed = next(names for pattern, names in ALLOWED.items() if Path(file).match(pattern))
    for name in _imported(ast.parse((SOURCE / file).read_text())):
        if name.split(".")[0] not in sys.stdlib_module_names:
            assert any(name == one or name.startswith(f"{one}.") for one in allowed), name


@pytest.mark.parametrize(
    "module", ["catalog", "spec", "record", "report.tables", "report.figures", "report.claims", "cli"]
)
def test_is_imported_without_torch(module):
    code = f"import sys, goodinit.{module}; dir(goodinit); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("module", ["cli", "report.build", "report.claims", "report.compare", "report.pages"])
def test_is_imported_without_matplotlib(module):
    code = f"import sys, goodinit.{module}; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("file", FILES)
def test_names_in_all_exist(file):
    tree = ast.parse((SOURCE / file).read_text())
    names = set(goodinit._PUBLIC) if file == "__init__.py" else set()
    names |= {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    for node in tree.body:
        if isinstance(node, ast.ImportFrom):
            names |= {alias.name for alias in node.names}
        if isinstance(node, ast.Assign):
            names |= {ast.unparse(target) for target in node.targets}
    listed = [node for node in tree.body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"]
    assert not listed or set(ast.literal_eval(listed[0].value)) <= names


@pytest.mark.parametrize("name", sorted(goodinit._PUBLIC))
def test_public_names_are_imported_when_they_are_used(name):
    assert callable(getattr(goodinit, name))
    assert name in dir(goodinit)
    assert name in goodinit.__all__
