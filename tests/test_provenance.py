"""What a record says of the code that made it: the commit of the project's own repository, or that it is not known."""

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
    own = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    return own | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull} | changes


def _git(folder, *words):
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(folder), *words]
    return subprocess.run(command, check=True, capture_output=True, text=True, env=_environment()).stdout.strip()


def _commit(folder):
    _git(folder, "add", "--all")
    _git(folder, "commit", "--quiet", "--allow-empty", "--message", "All")
    return _git(folder, "rev-parse", "HEAD")


def _copy(folder):
    """Copy what is asked into a folder, as src/goodinit there; return the folder."""
    package = folder / "src" / "goodinit"
    (package / "records").mkdir(parents=True)
    names = ("__init__.py", "__main__.py", "errors.py", "files.py", "records/__init__.py", "records/storage.py")
    for name in (*names, "records/provenance.py"):
        shutil.copy(Path(provenance.__file__).parents[1] / name, package / name)
    (folder / ".gitignore").write_text("__pycache__\n")
    (folder / "configs").mkdir()
    (folder / "configs" / "study.yaml").write_text("title: A\n")
    return folder


def _checkout(folder):
    """Make a repository with a copy, all of it committed; return the folder and the commit."""
    _copy(folder)
    _git(folder, "init", "--quiet")
    return folder, _commit(folder)


def _asked(source, cwd=None, **environment):
    """Return what the package in a folder says in a process of its own."""
    command = [sys.executable, "-c", CODE]
    environment = _environment(PYTHONPATH=str(source), **environment)
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment, cwd=cwd)
    return json.loads(done.stdout)


def test_a_checkout_names_its_commit_and_its_changes(tmp_path):
    root, commit = _checkout(tmp_path / "checkout")
    assert _asked(root / "src") == {"commit": commit, "modified": False}
    (root / "README.md").write_text("not code\n")
    assert _asked(root / "src") == {"commit": commit, "modified": False}
    for name in ("src/goodinit/new.py", "configs/work/new.yaml", "configs/study.yaml"):
        before = (root / name).read_text() if (root / name).exists() else None
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text("title: B\n")
        assert _asked(root / "src") == {"commit": commit, "modified": True}, name
        (root / name).unlink() if before is None else (root / name).write_text(before)
    _git(root, "rm", "--quiet", "--cached", "configs/study.yaml")
    assert _asked(root / "src")["modified"] is True


def test_untracked_files_count_where_the_user_does_not_want_to_see_them(tmp_path):
    root, commit = _checkout(tmp_path / "checkout")
    _git(root, "config", "status.showUntrackedFiles", "no")
    (root / "src" / "goodinit" / "new.py").touch()
    assert _asked(root / "src") == {"commit": commit, "modified": True}


def test_a_worktree_and_a_symbolic_link_are_the_checkout(tmp_path):
    root, commit = _checkout(tmp_path / "checkout")
    _git(root, "worktree", "add", "--quiet", str(tmp_path / "other"))
    (tmp_path / "link").symlink_to(root)
    for place in ("other", "link"):
        assert _asked(tmp_path / place / "src") == {"commit": commit, "modified": False}


def test_another_repository_around_or_at_the_code_is_not_named(tmp_path):
    outer = tmp_path / "outer"
    outer.mkdir()
    _git(outer, "init", "--quiet")
    _commit(outer)
    copy = _copy(outer / "goodinit-main")  # a zip, unpacked below
    assert _asked(copy / "src") == UNKNOWN
    _commit(outer)  # even where it is committed there
    assert _asked(copy / "src") == UNKNOWN
    installed = outer / ".venv" / "lib" / "site-packages"
    shutil.copytree(copy / "src", installed)
    assert _asked(installed) == UNKNOWN
    top = tmp_path / "top"
    _copy(top)
    _git(top, "init", "--quiet")  # unpacked into the top level of one that does not hold it
    assert _asked(top / "src") == UNKNOWN
    (top / ".gitignore").write_text("src\n")
    _commit(top)
    assert _asked(top / "src") == UNKNOWN


@pytest.mark.parametrize("cwd", ["checkout", "other"])
def test_the_variables_of_a_hook_do_not_mislead(tmp_path, cwd):
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
    assert _asked(root / "src", tmp_path / cwd, **hook) == {"commit": commit, "modified": False}
    plain = _copy(tmp_path / "plain")
    assert _asked(plain / "src", tmp_path / cwd, **hook) == UNKNOWN


def test_without_git_without_a_repository_or_without_trust_nothing_is_known(tmp_path):
    root, _ = _checkout(tmp_path / "checkout")
    assert _asked(root / "src", PATH=str(tmp_path)) == UNKNOWN
    assert _asked(root / "src", GIT_TEST_ASSUME_DIFFERENT_OWNER="1") == UNKNOWN  # safe.directory
    assert _asked(_copy(tmp_path / "plain") / "src") == UNKNOWN
    (root / ".git" / "index").write_bytes(b"damaged")
    assert _asked(root / "src")["modified"] is None
    (root / ".git" / "HEAD").unlink()
    assert _asked(root / "src") == UNKNOWN


def test_a_checkout_that_is_gone_is_not_known(tmp_path):
    root, _ = _checkout(tmp_path / "checkout")
    gone = (
        "import shutil; from goodinit.records import provenance; "
        f"shutil.rmtree({str(root)!r}); print(provenance.code())"
    )
    environment = _environment(PYTHONPATH=str(root / "src"))
    done = subprocess.run([sys.executable, "-c", gone], check=True, capture_output=True, text=True, env=environment)
    assert done.stdout.strip() == str(UNKNOWN)


@pytest.mark.parametrize(
    ("made", "words"),
    [
        ({"commit": "abc", "modified": False}, "commit abc"),
        ({"commit": "abc", "modified": True}, "commit abc, modified"),
        ({"commit": "abc", "modified": None}, "commit abc, perhaps modified"),
        ({"commit": "abc"}, "commit abc, perhaps modified"),
        (UNKNOWN, "commit unknown"),
        ({}, "commit unknown"),
    ],
)
def test_an_exported_record_says_what_is_known_of_its_code(made, words):
    assert ro_crate._code(made) == words
