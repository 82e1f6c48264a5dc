"""Histograms, images, paths and scatter figures show the numbers of the records."""

import itertools
import re

import numpy as np
import pytest
from sample_results import INITS, LAST, crosses_of, numbers_of_figures

from goodinit import records
from goodinit.cli.main import main
from goodinit.errors import InputError
from goodinit.report import drawing, figures, measures
from goodinit.report.frame import images


def test_histogram_shows_the_first_seed_at_the_last_step(drawn_study, drawn_frame):
    figure = drawing.draw(drawn_study, "laptop", "histogram_relu", drawn_frame)
    panels = np.array(figure.axes).reshape(3, 3)
    assert [axis.get_ylabel() for axis in panels[:, 0]] == INITS
    assert [axis.get_title() for axis in panels[0]] == ["layer 1", "layer 2", "layer 3"]
    for row, column in itertools.product(range(3), range(3)):
        axis = panels[row, column]
        (bars,) = axis.patches
        shares, edges, _ = bars.get_data()
        np.testing.assert_allclose(shares, np.roll(LAST[column], row + 3) / np.sum(LAST[column]))
        np.testing.assert_allclose(edges, np.arange(7) / 6)
        too_high = {0: ["70%"], 1: [], 2: ["90%"]}[column]
        assert [text.get_text() for text in axis.texts] == too_high


def test_a_histogram_that_is_not_finite_says_so(workspace, drawn_study):
    def numbers(run):
        series = numbers_of_figures(run)
        count, edge = series["count"].values, series["edge"].values.copy()
        count[1, 0], edge[1, 1] = np.nan, np.inf
        return series | {"edge": records.Series(series["edge"].steps, edge, ("layer", "bin"))}

    # A run that diverged after the step of its last histogram has none at its end.
    for status, text, last in (("finished", "not finite", "90%"), ("diverged", "diverged", "diverged")):
        frame = workspace.frame(drawn_study, numbers, status=status)
        figure = drawing.draw(drawn_study, "laptop", "histogram_relu", frame)
        drawing.render(figure, "png")
        panels = np.array(figure.axes).reshape(3, 3)
        assert [axis.get_ylabel() for axis in panels[:, 0]] == INITS
        assert [[item.get_text() for item in axis.texts] for axis in panels[1]] == [[text], [text], [last]]
        assert [len(axis.patches) for axis in panels[1]] == [0, 0, int(last == "90%")]


def test_cells_of_a_heat_map_are_means_over_seeds(drawn_study, drawn_frame):
    axis, bar = drawing.draw(drawn_study, "laptop", "cells", drawn_frame).axes
    assert [label.get_text() for label in axis.get_yticklabels()] == INITS
    assert [label.get_text() for label in axis.get_xticklabels()] == ["1", "2", "3"]
    assert (axis.get_ylabel(), axis.get_xlabel(), bar.get_ylabel()) == ("init", "layer", "spread")
    (cells,) = axis.collections
    means = np.array([[2, 0, 0.02], [3, 0.3, 0.03], [4, 0.4, 0.04]])  # of (1 + place + seed) / 10^(layer - 1)
    np.testing.assert_allclose(np.asarray(cells.get_array()).reshape(3, 3), means)
    assert [text.get_text() for text in axis.texts] == [f"{mean:.2g}" for mean in means.flat]


@pytest.mark.parametrize(
    ("col", "message"),
    [
        ("layer", "a cell of init and layer has several values of a seed: give one label of model.activation in where"),
        ("bin", "spread has no axis 'bin'; allowed: init, layer, model.activation"),
    ],
)
def test_cells_that_are_not_defined_are_an_error(drawn_frame, col, message):
    with pytest.raises(InputError, match=re.escape(message)):
        figures.heat_map(drawn_frame, metric="spread", row="init", col=col)


@pytest.mark.parametrize(
    ("kind", "options", "metric"),
    [
        ("curves", {"y": "loss", "hue": "layer"}, "loss"),
        ("curves", {"y": "loss", "hue": "inti"}, "loss"),
        ("curves", {"y": "loss", "hue": "init", "col": "layer"}, "loss"),
        ("curves", {"y": "spread", "hue": "init", "x": "bin"}, "spread"),
        ("curves", {"y": "loss", "hue": "init", "x": "training_seconds", "col": "bin"}, "loss"),
        ("curves", {"y": ["loss", "test_loss"], "hue": "metric", "col": "layer"}, "loss"),
        ("histogram", {"counts": "count", "edges": "edge", "row": "inti", "col": "layer"}, "count"),
        ("histogram", {"counts": "count", "edges": "edge", "row": "init", "col": "coordinate"}, "count"),
        ("path", {"col": "layer", "curvatures": [0.1, 2.0]}, "position"),
        ("heat_map", {"metric": "loss", "row": "init", "col": "layer"}, "loss"),
    ],
)
def test_an_axis_that_a_metric_does_not_have_is_an_error(drawn_frame, kind, options, metric):
    with pytest.raises(InputError, match=f"^{metric} has no axis '(layer|inti|bin|coordinate)'"):
        getattr(figures, kind)(drawn_frame, **options)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_mean_that_is_not_finite_is_a_cross_in_its_cell(workspace, value):
    spread = {"a": [[[1, 2, value]], [[3, 4, 5]]], "b": [[[1, 2, 3]], [[3, 4, 5]]]}
    _, frame = workspace.conditions({"spread": spread})
    figure = figures.heat_map(frame, metric="spread", row="condition", col="layer")
    drawing.render(figure, "png")
    axis = figure.axes[0]
    (crosses,) = crosses_of(axis)
    assert [list(data) for data in crosses.get_data()] == [[2.5], [0.5]]
    assert [text.get_text() for text in axis.texts] == ["2", "3", "2", "3", "4"]


def test_paths_are_the_recorded_points_of_the_first_seed(drawn_study, drawn_frame):
    figure = drawing.draw(drawn_study, "laptop", "path", drawn_frame)
    for axis, init in zip(figure.axes, INITS, strict=False):
        assert axis.get_title() == f"{init}, 5 points"
        assert (axis.get_xlim(), axis.get_ylim()) == ((-10, 10), (-5, 5))
        where = {"init": init, "model.activation": "tanh", "seed": 0, "metric": "position"}
        rows = measures.select(drawn_frame, where)
        path, minimum = axis.get_lines()
        for data, coordinate in zip(path.get_data(), (1, 2), strict=True):
            expected = rows[rows["coordinate"] == coordinate].sort_values("step")["value"]
            np.testing.assert_array_equal(data, expected)
        assert [list(data) for data in minimum.get_data()] == [[0], [0]]
        (levels,) = axis.collections
        for level, line in zip(levels.levels, levels.get_paths(), strict=True):
            x, y = line.vertices.T
            np.testing.assert_allclose(0.05 * x**2 + y**2, level, rtol=1e-2)


def test_paths_have_panels_only_for_labels_with_rows(drawn_frame):
    figure = figures.path(drawn_frame[drawn_frame["init"] != "alpha"], col="init", curvatures=[0.1, 2.0])
    assert [axis.get_title() for axis in figure.axes if axis.get_visible()] == ["zeta, 5 points", "Mu, 5 points"]


def test_a_path_ends_at_a_cross_if_the_run_diverged(workspace, drawn_study):
    paths = {"zeta": [[1, 2], [3, 99], [np.nan, 4]], "alpha": [[np.inf, 0]] * 3, "Mu": [[1, 1], [1e30, -1e30], [0, 0]]}

    def numbers(run):
        return {"position": records.Series(np.arange(3), np.array(paths[run.labels["init"]], float), ("coordinate",))}

    figure = drawing.draw(drawn_study, "laptop", "path", workspace.frame(drawn_study, numbers))
    drawing.render(figure, "png")
    titles = [axis.get_title() for axis in figure.axes if axis.get_visible()]
    assert titles == ["zeta, 2 points (not finite)", "alpha, 0 points (not finite)", "Mu, 3 points"]
    (cross,) = crosses_of(figure.axes[0])
    assert [list(data) for data in cross.get_data()] == [[3], [5]]  # on the edge
    assert not crosses_of(figure.axes[1])
    assert not crosses_of(figure.axes[2])


def test_points_of_a_scatter_figure_are_runs(workspace):
    values = np.random.default_rng(0).random((5, 3, 2))
    study, frame = workspace.trials({"accuracy": values})
    figure = figures.scatter(frame, x=["optimizer.lr", "optimizer.weight_decay"], y="accuracy", at=1)
    first, second, plane, _ = figure.axes
    draws = [study.draws("laptop", seed) for seed in range(3)]
    runs = [(trial, seed) for trial in range(5) for seed in range(3)]
    rates, decays = (np.array([draws[seed][trial + 1][path] for trial, seed in runs]) for path in study.tuned)
    heights = np.array([values[trial, seed, 0] for trial, seed in runs])
    for axis, expected in ((first, (rates, heights)), (second, (decays, heights)), (plane, (rates, decays))):
        (points,) = axis.collections
        offsets, expected = points.get_offsets(), np.stack(expected, axis=1)
        np.testing.assert_allclose(offsets[np.argsort(offsets[:, 0])], expected[np.argsort(expected[:, 0])])
    assert [axis.get_xscale() for axis in (first, second, plane)] == ["log"] * 3
    assert [axis.get_yscale() for axis in (first, second, plane)] == ["linear", "linear", "log"]
    assert [axis.get_xlabel() for axis in (first, second, plane)] == ["lr", "weight decay", "lr"]
    assert [axis.get_ylabel() for axis in (first, plane)] == ["accuracy", "weight decay"]


def test_trials_that_diverged_are_crosses_on_the_edges(workspace):
    values = np.ones((5, 3, 2))
    values[1, 2, 1] = np.nan
    values[3, :, 1] = np.inf
    study, frame = workspace.trials({"loss": values})
    options = {"x": ["optimizer.lr", "optimizer.weight_decay"], "y": "loss"}
    figure = figures.scatter(frame, **options)
    drawing.render(figure, "png")
    diverged = [(2, 2), (4, 0), (4, 1), (4, 2)]  # trials and seeds
    rates, decays = (
        np.array([study.draws("laptop", seed)[trial][path] for trial, seed in diverged]) for path in study.tuned
    )
    for axis, (x, y) in zip(figure.axes, [(rates, [0] * 4), (decays, [0] * 4), (rates, decays)], strict=False):
        (crosses,) = crosses_of(axis)
        points, expected = np.transpose(crosses.get_data()), np.transpose([x, y])
        np.testing.assert_allclose(points[np.argsort(points[:, 0])], expected[np.argsort(expected[:, 0])])
        assert axis.get_xlim()[0] < min(x) < max(x) < axis.get_xlim()[1]
        assert len(axis.collections[-1].get_offsets()) == 11
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["4 diverged"]
    short = frame[(frame["trial"] != 2) | (frame["step"] < 2)]  # ended before the step of the figure
    figure = figures.scatter(short, at=2, **options)
    assert len(crosses_of(figure.axes[0])[0].get_xdata()) == 6
    without_values = frame.assign(value=frame["value"].where(frame["metric"] != "loss"))
    assert len(drawing.render(figures.scatter(without_values, **options), "png")) > 0


def test_images_are_those_of_the_first_seed_at_the_last_step(workspace, capsys):
    options = {"kind": "images", "metric": "seen", "row": "init", "kinds": ["before", "after"]}
    study = workspace.study(figures={"seen": options}, compare={"init": ["he_normal", "glorot_normal"]})
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, 2, 2, 4, 3, 5, 5), dtype=np.uint8)

    def numbers(run):
        arrays = pixels[["he_normal", "glorot_normal"].index(run.labels["init"]), run.seed]
        axes = ("kind", "image", "channel", "row", "column")
        return {
            "seen": records.Series(np.array([0, 4]), arrays, axes),
            "loss": records.Series(np.arange(4), np.ones(4)),
        }

    assert "seen" not in set(workspace.frame(study, numbers)["metric"])
    frame = images(study, "laptop", workspace.results, "seen")
    assert frame["seed"].tolist() == [0, 1, 2] * 2
    figure = drawing.draw(study, "laptop", "seen", frame)
    assert [axis.get_title() for axis in figure.axes] == ["before", "after", "", ""]
    assert [axis.get_ylabel() for axis in figure.axes] == ["he_normal", "", "glorot_normal", ""]
    for axis, (init, kind) in zip(figure.axes, [(0, 0), (0, 1), (1, 0), (1, 1)], strict=True):
        shown = np.asarray(axis.images[0].get_array())
        assert shown.shape == (7, 4 * 7, 3)
        for position, image in enumerate(pixels[init, 0, 1, kind]):
            np.testing.assert_array_equal(shown[1:6, 7 * position + 1 : 7 * position + 6], image.transpose(1, 2, 0))
        assert (shown[[0, 6]] == 255).all()
    svg = drawing.render(figure, "svg")
    assert drawing.render(drawing.draw(study, "laptop", "seen", frame), "svg") == svg
    other = workspace.study("other", figures={"seen": options | {"kinds": ["one"]}})
    with pytest.raises(InputError, match=r"^seen has no axis 'inti'; did you mean init"):
        figures.images(frame, metric="seen", row="inti", kinds=["before", "after"])
    with pytest.raises(InputError, match="kinds: 1 names for 2 kinds of images"):
        drawing.draw(other, "laptop", "seen", frame)
    with pytest.raises(measures.NotRun, match="no records with photos"):
        images(study, "laptop", workspace.results, "photos")
    folders = ["--configs", str(workspace.configs), "--results", str(workspace.results), "--scale", "laptop"]
    main(["figure", "work/study", *folders, "--figures", str(workspace.figures)])
    assert (workspace.figures / "laptop" / "work" / "study-seen.svg").read_bytes() == svg


def test_a_run_that_diverged_before_its_first_images_has_an_empty_panel(workspace):
    options = {"kind": "images", "metric": "seen", "row": "init", "kinds": ["before"]}
    study = workspace.study(figures={"seen": options}, compare={"init": ["he_normal", "glorot_normal", "orthonormal"]})
    axes = ("kind", "image", "channel", "row", "column")
    seen = records.Series(np.array([4]), np.zeros((1, 1, 2, 1, 4, 4), np.uint8), axes)
    series = {"he_normal": {"seen": seen}, "glorot_normal": {}, "orthonormal": {"seen": seen}}
    workspace.fill(
        study,
        lambda run: series[run.labels["init"]] | {"loss": records.Series(np.arange(4), np.ones(4))},
        status=lambda run: "finished" if run.labels["init"] == "he_normal" else "diverged",
    )
    figure = drawing.draw(study, "laptop", "seen", images(study, "laptop", workspace.results, "seen"))
    drawing.render(figure, "png")
    names = ["he_normal", "glorot_normal (diverged)", "orthonormal (diverged)"]
    assert [axis.get_ylabel() for axis in figure.axes] == names
    assert [len(axis.images) for axis in figure.axes] == [1, 0, 1]
    assert [text.get_text() for text in figure.axes[1].texts] == ["diverged"]


@pytest.mark.parametrize(("row", "col"), [("condition", "layer"), ("layer", "condition")])
def test_the_panels_of_a_histogram_are_in_the_order_of_the_study(workspace, row, col):
    labels = ["zeta", 3, "Alpha", 0.5]
    study = workspace.study(
        conditions={label: {"init": "he_normal", "optimizer.lr": 2.0**-i} for i, label in enumerate(labels)},
        compare=None,
        seeds=1,
    )

    def numbers(run):
        edges = np.broadcast_to(np.arange(4) / 4, (1, 2, 4))
        return {
            "count": records.Series(np.array([4]), np.ones((1, 2, 4)), ("layer", "bin")),
            "edge": records.Series(np.array([4]), edges, ("layer", "bin")),
        }

    figure = figures.histogram(workspace.frame(study, numbers), counts="count", edges="edge", row=row, col=col)
    texts = {
        "condition": [str(label) for label in labels],
        "layer": ["1", "2"],
    }
    panels = np.array(figure.axes).reshape(len(texts[row]), len(texts[col]))
    assert [axis.get_ylabel() for axis in panels[:, 0]] == texts[row]
    assert [axis.get_title() for axis in panels[0]] == [f"{col} {text}" for text in texts[col]]


AXES = ["init", "model.activation", "layer", "parameter", "coordinate", "bin", "step", "metric", "seed"]


@pytest.mark.parametrize(
    ("kind", "options", "axes"),
    [
        ("curves", {"y": "loss"}, ("hue", "col")),
        ("curves", {"y": "spread", "x": "layer"}, ("hue", "col")),
        ("curves", {"y": "spread"}, ("hue", "col")),
        ("curves", {"y": ["loss", "test_loss"]}, ("hue", "col")),
        ("curves", {"y": "spread", "hue": "init"}, ("x", "col")),
        ("heat_map", {"metric": "spread"}, ("row", "col")),
        ("heat_map", {"metric": "loss"}, ("row", "col")),
        ("histogram", {"counts": "count", "edges": "edge"}, ("row", "col")),
        ("path", {"curvatures": [0.1, 2.0]}, ("col",)),
    ],
)
def test_any_axes_give_a_figure_or_one_line(drawn_frame, kind, options, axes):
    frame = measures.select(drawn_frame, {"model.activation": "tanh", "seed": [0, 1]})
    drawn = 0
    for chosen in itertools.product(AXES, repeat=len(axes)):
        try:
            getattr(figures, kind)(frame, **options, **dict(zip(axes, chosen, strict=True)))
            drawn += 1
        except InputError:
            continue
    assert drawn
