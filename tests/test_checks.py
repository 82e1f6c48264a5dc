"""The pre-commit hooks and the CI workflow run the checks of `make lint`."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from checkout import ROOT

HOOKS = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
MAKEFILE = (ROOT / "Makefile").read_text()


def _lint_commands():
    recipe = re.search(r"^lint:.*\n((?:\t.*\n)+)", MAKEFILE, re.M)[1]
    return [line.strip() for line in recipe.splitlines()]


def test_hooks_run_the_commands_of_make_lint():
    commands = [hook["entry"].removeprefix(".venv/bin/") for hook in HOOKS]
    assert commands == [command.removesuffix(" Snakefile workflow") for command in _lint_commands()]


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook["id"])
def test_the_program_of_a_hook_is_installed_with_the_project(hook):
    program = Path(shlex.split(hook["entry"])[0])
    assert program.parent == Path(".venv/bin")
    command = [str(Path(sys.executable).parent / program.name), "--help"]
    subprocess.run(command, check=True, capture_output=True)


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook["id"])
def test_the_files_of_a_hook_exist(hook):
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert hook.get("types") == ["python"] or any(re.search(hook["files"], file) for file in tracked)


def test_ci_runs_targets_that_exist():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    commands = [step["run"] for job in workflow["jobs"].values() for step in job["steps"] if "run" in step]
    targets = [command.removeprefix("make ") for command in commands if command.startswith("make ")]
    assert targets == ["lint", "test", "demo"]
    assert all(re.search(rf"^{target}:", MAKEFILE, re.M) for target in targets)
