"""Figures do not depend on the user's settings of matplotlib, and goodinit does not change these settings."""

import itertools
import os
import subprocess
import sys

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from goodinit import records
from goodinit.report import style

SETTINGS = """\
axes.facecolor: black
axes.formatter.limits: 0, 1
axes.formatter.use_locale: True
axes.labelsize: 30
axes.prop_cycle: cycler("color", ["red", "lime"])
axes.unicode_minus: False
axes.xmargin: 0.4
backend: TkAgg
errorbar.capsize: 9
figure.constrained_layout.w_pad: 0.5
figure.dpi: 30
figure.facecolor: gray
font.family: serif
font.serif: Nobody's Font
font.size: 20
image.cmap: gray
image.interpolation: bicubic
legend.loc: center
lines.dash_capstyle: round
lines.linewidth: 7
lines.markersize: 15
path.simplify: False
path.sketch: 3, 100, 2
patch.facecolor: red
savefig.bbox: tight
savefig.dpi: 20
savefig.facecolor: yellow
savefig.transparent: True
scatter.marker: s
svg.fonttype: none
svg.id: someone
text.hinting: none
text.parse_math: False
text.usetex: True
toolbar: toolmanager
xtick.direction: in
ytick.right: True
"""
BROKEN = "font.size: twelve\nno colon\nfont.size: 7\nunknown.key: 1\nsavefig.jpeg_quality: 3\n"
FIGURES = {
    "loss": {"kind": "curves", "title": "Loss of $10^3$ batches", "y": "loss", "hue": "init",
             "log_y": True},
    "counts": {"kind": "histogram", "counts": "count", "edges": "edge", "row": "init", "col": "layer"},
    "way": {"kind": "path", "col": "init", "curvatures": [0.1, 2.0]},
    "cells": {"kind": "heat_map", "metric": "count", "row": "init", "col": "bin"},
    "rates": {"kind": "scatter", "x": ["rate", "rate"], "y": "loss"},
    "seen": {"kind": "images", "metric": "seen", "row": "init", "kinds": ["input"]},
}  # fmt: skip
CLAIM = {"id": "low", "says": "It is low.", "source": "here", "test": {"within": {"metric": "loss", "below": 9}}}


def _numbers(run):
    noise = np.random.default_rng([len(run.title), run.seed])
    return {
        "loss": records.Series(np.arange(1, 31), noise.random(30)),
        "rate": records.Series(np.array([0]), noise.random(1)),
        "position": records.Series(np.arange(5), noise.normal(size=(5, 2)), ("coordinate",)),
        "count": records.Series(np.array([0]), noise.integers(1, 9, (1, 1, 6)), ("layer", "bin")),
        "edge": records.Series(np.array([0]), np.arange(6.0)[None, None], ("layer", "bin")),
        "seen": records.Series(
            np.array([0]),
            noise.integers(0, 256, (1, 1, 2, 1, 4, 4), dtype=np.uint8),
            ("kind", "image", "channel", "row", "column"),
        ),
    }


@pytest.fixture(scope="module")
def workspace(workspace_class, tmp_path_factory):
    """Return a Workspace with a study that has figures of all kinds."""
    workspace = workspace_class(tmp_path_factory.mktemp("style"))
    workspace.fill(
        workspace.study(figures=FIGURES, claims=[CLAIM], compare={"init": ["he_normal", "glorot_normal"]}, seeds=2),
        _numbers,
    )
    return workspace


def _environment(**changes):
    """Return the environment of this process without the variables that matplotlib reads, with changes."""
    hidden = ("MPL", "MATPLOTLIB", "XDG_", "DISPLAY", "WAYLAND_DISPLAY")
    return {name: value for name, value in os.environ.items() if not name.startswith(hidden)} | changes


def _run(*arguments, folder=None, **environment):
    command = [sys.executable, "-W", "error::DeprecationWarning:matplotlib", *arguments]
    finished = subprocess.run(
        command, cwd=folder, env=_environment(**environment), capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stderr
    return finished


DRAW = (
    "import sys; from goodinit.cli.main import main; main(['figure', *sys.argv[1:]]); main(['claims', *sys.argv[1:]])"
)


def _folders(workspace):
    return ["--scale", "laptop", "--configs", str(workspace.configs), "--results", str(workspace.results)]


def _drawn(workspace, figures, folder, **environment):
    """Return {name: bytes} of everything that the commands draw in an environment."""
    _run("-c", DRAW, *_folders(workspace), "--figures", str(figures), folder=folder, **environment)
    return {file.name: file.read_bytes() for file in figures.rglob("*.*")}


@pytest.fixture(scope="module")
def clean(workspace, tmp_path_factory):
    folder = tmp_path_factory.mktemp("clean")
    return _drawn(workspace, folder / "figures", folder)


def _working_directory(folder):
    """Put the settings in the working directory, with a backend that needs a screen."""
    (folder / "matplotlibrc").write_text(SETTINGS)
    return {"MPLBACKEND": "TkAgg"}


def _undecodable(folder):
    """Put files that matplotlib cannot decode in the working directory and among the style sheets."""
    (folder / "own" / "stylelib").mkdir(parents=True)
    for file in (folder / "matplotlibrc", folder / "own" / "matplotlibrc", folder / "own" / "stylelib" / "a.mplstyle"):
        file.write_bytes(b"\xff\xfe\x00font.size: 20\n")
    return {"MPLCONFIGDIR": str(folder / "own"), "MPLBACKEND": "nonsense"}


def _invalid(folder):
    """Name a file with some invalid lines, no folder for the cache, and a backend that is not installed."""
    (folder / "settings").write_text(SETTINGS + BROKEN)
    folders = {name: str(folder / "settings" / "absent") for name in ("MPLCONFIGDIR", "HOME", "XDG_CACHE_HOME")}
    return folders | {"MATPLOTLIBRC": str(folder / "settings"), "MPLBACKEND": "module://nobodys_inline.backend"}


@pytest.mark.parametrize(
    "setup", [_invalid, *(pytest.param(setup, marks=pytest.mark.slow) for setup in (_working_directory, _undecodable))]
)
def test_settings_of_the_user_do_not_change_figures(workspace, clean, setup, tmp_path):
    assert len(clean) == 2 * (len(FIGURES) + 1)
    assert _drawn(workspace, tmp_path / "figures", tmp_path, **setup(tmp_path)) == clean


IMPORTED = """
import os
before = dict(os.environ), os.getcwd()
from goodinit.report import style
import matplotlib
def settings():
    return [matplotlib.rcParams[name] for name in ("backend", "figure.dpi", "text.usetex", "font.size")]
assert settings() == ["svg", 30, True, 20], settings()
assert matplotlib.rcParamsOrig["figure.dpi"] == 30
with style.context():
    assert settings() == ["svg", 100, False, 9], settings()
assert settings() == ["svg", 30, True, 20], settings()
assert before == (dict(os.environ), os.getcwd())
"""


@pytest.mark.parametrize("first", ["", "import matplotlib\n"])
def test_settings_of_the_user_stay_in_force_for_other_figures(tmp_path, first):
    (tmp_path / "matplotlibrc").write_text(SETTINGS)
    _run("-c", first + IMPORTED, folder=tmp_path, MPLBACKEND="svg")


def test_tables_do_not_need_matplotlib(workspace, tmp_path):
    absent = "import sys; sys.modules['matplotlib'] = None; from goodinit.cli.main import main; main(sys.argv[1:])"
    _run("-c", absent, "table", *_folders(workspace), folder=tmp_path)


def _lightness(color):
    """Return L* of CIE 1976: 0 is black, 100 white."""
    channels = np.array(to_rgb(color))
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    luminance = linear @ [0.2126, 0.7152, 0.0722]
    return 116 * np.cbrt(luminance) - 16 if luminance > 0.008856 else 903.3 * luminance


def test_colors_are_distinct_and_neighbors_differ_in_gray():
    assert len(set(map(to_rgb, style.COLORS))) == len(style.COLORS)
    lightness = [_lightness(color) for color in style.COLORS]
    assert all(abs(first - second) >= 5 for first, second in itertools.pairwise(lightness))
    assert max(lightness) < 80  # visible on white
