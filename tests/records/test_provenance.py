"""Provenance names the commit of the project's own repository, or None where that is unknown."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from goodinit.records import provenance
from goodinit.report import ro_crate

UNKNOWN = {"commit": None, "modified": None}
CODE = "import json; from goodinit.records import provenance; print(json.dumps(provenance.code()))"


def _environment(**changes):
    hidden = ("GIT_", "PYTHONPATH")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    return kept | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull} | changes


def _git(folder, *arguments):
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, env=_environment()).stdout.strip()


def _commit(folder):
    _git(folder, "add", "--all")
    _git(folder, "commit", "--quiet", "--allow-empty", "--message", "All")
    return _git(folder, "rev-parse", "HEAD")


def _copy(folder):
    """Copy the modules that provenance needs to src/goodinit in a folder; return the folder."""
    package = folder / "src" / "goodinit"
    (package / "records").mkdir(parents=True)
    source = Path(provenance.__file__).parents[1]
    names = ("__init__.py", "__main__.py", "errors.py", "files.py")
    for file in (*(source / name for name in names), *(source / "records").glob("*.py")):
        shutil.copy(file, package / file.relative_to(source))
    (folder / ".gitignore").write_text("__pycache__\n")
    (folder / "configs").mkdir()
    (folder / "configs" / "study.yaml").write_text("title: A\n")
    return folder


def _checkout(folder):
    """Create a repository with a committed copy; return the folder and the commit."""
    _copy(folder)
    _git(folder, "init", "--quiet")
    return folder, _commit(folder)


def _code_of(source, cwd=None, **environment):
    """Return the code version that the package in a folder reports in a new process."""
    command = [sys.executable, "-c", CODE]
    environment = _environment(PYTHONPATH=str(source), **environment)
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment, cwd=cwd)
    return json.loads(done.stdout)


def test_checkout_reports_its_commit_and_changes(tmp_path):
    root, commit = _checkout(tmp_path / "checkout")
    assert _code_of(root / "src") == {"commit": commit, "modified": False}
    (root / "README.md").write_text("not code\n")
    assert _code_of(root / "src") == {"commit": commit, "modified": False}
    for name in ("src/goodinit/new.py", "configs/work/new.yaml", "configs/study.yaml"):
        before = (root / name).read_text() if (root / name).exists() else None
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text("title: B\n")
        assert _code_of(root / "src") == {"commit": commit, "modified": True}, name
        (root / name).unlink() if before is None else (root / name).write_text(before)
    _git(root, "rm", "--quiet", "--cached", "configs/study.yaml")
    assert _code_of(root / "src")["modified"] is True


def test_untracked_files_count_also_if_git_status_hides_them(tmp_path):
    root, commit = _checkout(tmp_path / "checkout")
    _git(root, "config", "status.showUntrackedFiles", "no")
    (root / "src" / "goodinit" / "new.py").touch()
    assert _code_of(root / "src") == {"commit": commit, "modified": True}


def test_worktree_and_symbolic_link_report_the_commit(tmp_path):
    root, commit = _checkout(tmp_path / "checkout")
    _git(root, "worktree", "add", "--quiet", str(tmp_path / "other"))
    (tmp_path / "link").symlink_to(root)
    for name in ("other", "link"):
        assert _code_of(tmp_path / name / "src") == {"commit": commit, "modified": False}


def test_repository_of_another_project_is_not_reported(tmp_path):
    outer = tmp_path / "outer"
    outer.mkdir()
    _git(outer, "init", "--quiet")
    _commit(outer)
    copy = _copy(outer / "goodinit-main")  # an unpacked archive
    assert _code_of(copy / "src") == UNKNOWN
    _commit(outer)  # also if it is committed there
    assert _code_of(copy / "src") == UNKNOWN
    installed = outer / ".venv" / "lib" / "site-packages"
    shutil.copytree(copy / "src", installed)
    assert _code_of(installed) == UNKNOWN
    top = tmp_path / "top"
    _copy(top)
    _git(top, "init", "--quiet")  # at the top level of a repository that does not track it
    assert _code_of(top / "src") == UNKNOWN
    (top / ".gitignore").write_text("src\n")
    _commit(top)
    assert _code_of(top / "src") == UNKNOWN


@pytest.mark.parametrize("cwd", ["checkout", "other"])
def test_environment_variables_of_a_git_hook_are_ignored(tmp_path, cwd):
    root, commit = _checkout(tmp_path / "checkout")
    other, _ = _checkout(tmp_path / "other")
    (other / "configs" / "study.yaml").write_text("title: Other\n")
    _commit(other)
    hook = {
        "GIT_DIR": str(other / ".git"),
        "GIT_WORK_TREE": str(other),
        "GIT_INDEX_FILE": str(other / ".git" / "index"),
        "GIT_OBJECT_DIRECTORY": str(other / ".git" / "objects"),
        "GIT_PREFIX": "src/",
    }
    assert _code_of(root / "src", tmp_path / cwd, **hook) == {"commit": commit, "modified": False}
    plain = _copy(tmp_path / "plain")
    assert _code_of(plain / "src", tmp_path / cwd, **hook) == UNKNOWN


def test_commit_is_unknown_without_git_repository_or_trust(tmp_path):
    root, _ = _checkout(tmp_path / "checkout")
    assert _code_of(root / "src", PATH=str(tmp_path)) == UNKNOWN
    assert _code_of(root / "src", GIT_TEST_ASSUME_DIFFERENT_OWNER="1") == UNKNOWN  # safe.directory
    assert _code_of(_copy(tmp_path / "plain") / "src") == UNKNOWN
    (root / ".git" / "index").write_bytes(b"damaged")
    assert _code_of(root / "src")["modified"] is None
    (root / ".git" / "HEAD").unlink()
    assert _code_of(root / "src") == UNKNOWN


def test_commit_of_a_deleted_checkout_is_unknown(tmp_path):
    root, _ = _checkout(tmp_path / "checkout")
    script = (
        "import shutil; from goodinit.records import provenance; "
        f"shutil.rmtree({str(root)!r}); print(provenance.code())"
    )
    environment = _environment(PYTHONPATH=str(root / "src"))
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, env=environment)
    assert done.stdout.strip() == str(UNKNOWN)


@pytest.mark.parametrize(
    ("version", "text"),
    [
        ({"commit": "abc", "modified": False}, "commit abc"),
        ({"commit": "abc", "modified": True}, "commit abc, modified"),
        ({"commit": "abc", "modified": None}, "commit abc, perhaps modified"),
        ({"commit": "abc"}, "commit abc, perhaps modified"),
        (UNKNOWN, "commit unknown"),
        ({}, "commit unknown"),
    ],
)
def test_export_describes_the_code_version(version, text):
    assert ro_crate.describe_code(version) == text
