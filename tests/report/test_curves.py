"""Curves are means over seeds in bands, and end where a run diverged."""

import re

import numpy as np
import pytest
from sample_results import INITS, crosses_of, lines_of

from goodinit import records
from goodinit.errors import InputError
from goodinit.report import drawing, figures, statistics
from goodinit.report.measures import select


def _triangles(axis):
    """Return the triangles in a panel, without that of the legend."""
    return [line for line in axis.get_lines() if line.get_marker() == "v" and len(line.get_xdata())]


def test_curves_are_means_of_smoothed_runs_in_bands_of_one_standard_deviation(drawn_study, drawn_frame):
    figure = drawing.draw(drawn_study, "laptop", "loss", drawn_frame)
    assert [axis.get_title() for axis in figure.axes] == ["activation: tanh", "activation: relu"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == INITS
    for axis, activation in zip(figure.axes, ("tanh", "relu"), strict=True):
        assert axis.get_ylim() == (0, 9)
        assert list(lines_of(axis)) == INITS
        for init, band in zip(INITS, axis.collections, strict=True):
            rows = select(drawn_frame, {"init": init, "model.activation": activation, "metric": "loss"})
            runs = [statistics.smooth(group["value"].to_numpy(), 11) for _, group in rows.groupby("seed")]
            assert len(runs) == 3
            mean, deviation = np.mean(runs, axis=0), np.std(runs, axis=0, ddof=1)
            steps, values = lines_of(axis)[init].get_data()
            np.testing.assert_array_equal(steps, np.arange(1, 41))
            np.testing.assert_allclose(values, mean, rtol=1e-12)
            corners = band.get_paths()[0].vertices
            for step, low, high in zip(steps, mean - deviation, mean + deviation, strict=True):
                heights = corners[corners[:, 0] == step][:, 1]
                assert (heights.min(), heights.max()) == pytest.approx((low, high))


def test_where_selects_the_rows_of_a_figure(drawn_study, drawn_frame):
    (axis,) = drawing.draw(drawn_study, "laptop", "relu_alone", drawn_frame).axes
    rows = select(drawn_frame, {"init": "Mu", "model.activation": "relu", "metric": "loss"})
    np.testing.assert_allclose(lines_of(axis)["Mu"].get_ydata(), rows.groupby("step")["value"].mean())


def test_several_metrics_are_lines_in_the_given_order(drawn_study, drawn_frame):
    figure = drawing.draw(drawn_study, "laptop", "both", drawn_frame)
    assert [axis.get_title() for axis in figure.axes[:3]] == [f"init: {init}" for init in INITS]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["test loss", "loss"]
    assert figure.legends[0].get_title().get_text() == "metric"
    assert figure.axes[0].get_ylabel() == "loss"
    for axis, init in zip(figure.axes, INITS, strict=False):
        for label, metric in (("test loss", "test_loss"), ("loss", "loss")):
            rows = select(drawn_frame, {"init": init, "model.activation": "relu", "metric": metric})
            expected = rows.groupby("step")["value"].mean()
            steps, values = lines_of(axis)[label].get_data()
            np.testing.assert_array_equal(steps, expected.index)
            np.testing.assert_allclose(values, expected)


def test_an_axis_of_the_metric_can_be_the_panels(workspace, drawn_study, drawn_frame):
    options = {"kind": "curves", "x": "step", "y": "spread", "hue": "init", "col": "layer"}
    other = workspace.study(
        "other", figures={"layers": options | {"where": {"layer": [1, 3], "model.activation": "relu"}}}
    )
    figure = drawing.draw(other, "laptop", "layers", drawn_frame)
    assert [axis.get_title() for axis in figure.axes] == ["layer: 1", "layer: 3"]
    assert [len(lines_of(axis)) for axis in figure.axes] == [3, 3]


def test_fourteen_lines_have_different_styles(workspace):
    labels = [f"arm {i}" for i in range(14)]
    _, frame = workspace.conditions(
        {"loss": {label: [[1.0 + i, 2.0], [2.0, 3.0 + i]] for i, label in enumerate(labels)}}
    )
    figure = figures.curves(frame, y="loss", hue="condition")
    assert list(lines_of(figure.axes[0])) == labels
    lines = re.findall(r'style="fill: none;([^"]*stroke-width: 1.4[^"]*)"', drawing.render(figure, "svg").decode())
    assert len(lines) == 2 * len(labels)  # in the panel and in the legend
    assert len(set(lines)) == len(labels)


def test_a_logarithmic_axis_has_geometric_means_and_triangles_at_zeros(drawn_study, drawn_frame):
    figure = drawing.draw(drawn_study, "laptop", "spread", drawn_frame)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [*INITS, "0 in a run"]
    for position, axis in enumerate(figure.axes):
        assert axis.get_yscale() == "log"
        layers, values = lines_of(axis)["alpha"].get_data()
        np.testing.assert_array_equal(layers, [1, 2, 3])
        geometric = np.prod([2 + 3 * position + seed for seed in range(3)]) ** (1 / 3)
        np.testing.assert_allclose(values, geometric * np.array([1, 0.1, 0.01]))
        (triangle,) = _triangles(axis)
        assert triangle.get_xdata().tolist() == [2]
        assert triangle.get_color() == lines_of(axis)["zeta"].get_color()
        assert triangle.get_transform() == axis.get_xaxis_transform()
        assert triangle.get_ydata().tolist() == [0]  # the lower edge


def test_there_is_no_triangle_where_a_run_has_no_value(workspace):
    _, frame = workspace.conditions(
        {"loss": {"a": [[1, 0, 4, 5], [1, 2, np.nan, 5]], "b": [[1, 2, 3, 4], [1, 2, 3, 4]]}}
    )
    figure = figures.curves(frame, y="loss", hue="condition", log_y=True)
    drawing.render(figure, "png")
    (axis,) = figure.axes
    (triangle,) = _triangles(axis)
    assert triangle.get_xdata().tolist() == [2]
    values = lines_of(axis)["a"].get_ydata()
    np.testing.assert_allclose(values[[0, 3]], [1, 5])
    assert not (values[[1, 2]] > 0).any()


def test_a_line_of_zeros_on_a_logarithmic_axis_gives_no_warning(workspace):
    _, frame = workspace.conditions({"loss": {"A": np.zeros((3, 4)), "B": np.ones((3, 4))}})
    figure = figures.curves(frame, y="loss", hue="condition", log_y=True)
    assert len(drawing.render(figure, "png")) > 0


@pytest.mark.parametrize("log_y", [False, True])
def test_lines_of_diverged_runs_end_at_crosses(workspace, log_y):
    diverged = [[1, 1e38, np.inf], [1, 2, np.inf], [1, 2, 3]]
    _, frame = workspace.conditions(
        {"loss": {"a": diverged, "b": [[1, 2, 3]] * 3, "c": [[np.nan, np.nan, np.nan]] * 3}}
    )
    figure = figures.curves(frame, y="loss", hue="condition", log_y=log_y)
    drawing.render(figure, "png")
    (axis,) = figure.axes
    assert set(lines_of(axis)) == {"a", "b", "c (diverged)"}
    assert lines_of(axis)["b"].get_ydata() == pytest.approx([1, 2, 3])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b", "c (diverged)", "diverged"]
    assert [text.get_text() for text in axis.texts] == ["diverged: a (2 of 3), c"]
    (cross,) = crosses_of(axis)
    assert cross.get_color() == lines_of(axis)["a"].get_color()
    assert cross.get_xdata().tolist() == [2]
    assert cross.get_ydata() == pytest.approx(lines_of(axis)["a"].get_ydata()[1:2])


@pytest.mark.parametrize("log_y", [False, True])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_figure_without_finite_values_names_the_conditions(workspace, value, log_y):
    _, frame = workspace.conditions({"loss": {"a": [[value] * 3] * 3, "b": [[value] * 3] * 3}})
    figure = figures.curves(frame, y="loss", hue="condition", log_y=log_y, smooth=3)
    drawing.render(figure, "png")
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a (diverged)", "b (diverged)"]


def test_a_condition_that_diverged_in_one_panel_is_named_there(workspace):
    def numbers(run):
        diverged = run.labels == {"model.activation": "relu", "init": "zeta"}
        level = 1.0 + INITS.index(run.labels["init"])
        return {"loss": records.Series(np.arange(4), np.full(4, np.nan if diverged else level))}

    figure = figures.curves(workspace.frame(workspace.study(), numbers), y="loss", hue="init", col="model.activation")
    assert [text.get_text() for text in figure.legends[0].get_texts()] == INITS
    assert [[text.get_text() for text in axis.texts] for axis in figure.axes] == [[], ["diverged: zeta"]]


def test_the_legend_names_the_condition_whose_equal_lines_hide_another(workspace):
    def numbers(run):
        differs = run.labels == {"model.activation": "relu", "init": INITS[1]}
        return {"loss": records.Series(np.arange(3), np.array([3.0, 2.0, 1.5 if differs else 1.0]))}

    figure = figures.curves(workspace.frame(workspace.study(), numbers), y="loss", hue="init", col="model.activation")
    drawing.render(figure, "png")
    first, second, third = INITS
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == [f"{first} (= {third})", second, third]  # the lines of the second differ in one panel


def test_equal_conditions_without_finite_values_are_not_called_equal(workspace):
    _, frame = workspace.conditions({"loss": {"a": [[np.nan] * 3] * 3, "b": [[1, 2, 3]] * 3, "c": [[1, 2, 4]] * 3}})
    figure = figures.curves(frame, y="loss", hue="condition")
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a (diverged)", "b", "c"]


def test_a_run_that_stopped_above_the_panel_ends_at_a_cross_on_the_edge(workspace):
    study = workspace.study(compare={"init": ["he_normal", "glorot_normal"]})

    def diverged(run):
        return run.labels["init"] == "he_normal" and run.seed == 1

    def numbers(run):
        steps = np.arange(1, 4 if diverged(run) else 7)
        return {"loss": records.Series(steps, 10.0 ** (steps * diverged(run)))}

    frame = workspace.frame(study, numbers, status=lambda run: "diverged" if diverged(run) else "finished")
    figure = figures.curves(frame, y="loss", hue="init", y_limits=[0, 9])
    (axis,) = figure.axes
    (cross,) = crosses_of(axis)
    assert [list(data) for data in cross.get_data()] == [[3], [9]]
    assert [text.get_text() for text in axis.texts] == ["diverged: he_normal (1 of 3)"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["he_normal", "glorot_normal", "diverged"]


def test_a_metric_that_is_undefined_before_the_first_update_did_not_diverge(workspace):
    _, frame = workspace.conditions({"update_size": {"a": [[np.nan, 1, 2]] * 3, "b": [[np.nan] * 3] * 3}})
    figure = figures.curves(frame, y="update_size", hue="condition")
    assert not crosses_of(figure.axes[0])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b (not finite)"]


def test_values_before_the_first_update_can_be_left_out(workspace):
    def numbers(run):
        return {"test_l1": records.Series(np.array([0, 5, 10]), np.array([8.0, 4.0, 2.0]))}

    frame = select(workspace.frame(workspace.study(), numbers), {"model.activation": "relu"})
    for initial, expected in ((True, [8, 4, 2]), (False, [4, 2])):
        figure = figures.curves(frame, y="test_l1", hue="init", initial=initial)
        assert [list(line.get_ydata()) for line in lines_of(figure.axes[0]).values()] == [expected] * len(INITS)


@pytest.mark.parametrize("options", [{}, {"smooth": 3}, {"log_y": True}, {"initial": False}])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_run_that_diverged_at_once_is_not_left_out_of_the_mean(workspace, options, value):
    losses = {"a": [[value] * 4, [1, 2, 3, 4], [1, 2, 3, 4]], "b": [[1, 2, 3, 4]] * 3}
    _, frame = workspace.conditions({"loss": losses})
    figure = figures.curves(frame, y="loss", hue="condition", **options)
    drawing.render(figure, "png")
    (axis,) = figure.axes
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a (diverged)", "b"]
    assert not np.isfinite(lines_of(axis)["a (diverged)"].get_ydata()).any()
    assert [text.get_text() for text in axis.texts] == ["diverged: a"]


def test_a_line_over_layers_ends_where_a_run_has_no_value(workspace):
    spread = {"a": [[[1, 2, 3]], [[np.nan, np.nan, np.nan]]], "b": [[[1, 2, 3]], [[1, np.nan, 3]]]}
    _, frame = workspace.conditions({"spread": spread})
    figure = figures.curves(frame, y="spread", hue="condition", x="layer")
    drawing.render(figure, "png")
    assert not np.isfinite(lines_of(figure.axes[0])["a (not finite)"].get_ydata()).any()
    np.testing.assert_array_equal(lines_of(figure.axes[0])["b"].get_ydata(), [1, np.nan, 3])


@pytest.mark.parametrize(
    ("y", "options", "others"),
    [
        ("loss", {"hue": "init"}, "model.activation"),
        ("loss", {"hue": "model.activation"}, "init"),
        ("spread", {"hue": "init", "col": "model.activation"}, "layer"),
        ("spread", {"hue": "init"}, "model.activation and layer"),
        ("spread", {"hue": "init", "x": "layer"}, "model.activation"),
        (["test_loss", "loss"], {"hue": "metric", "col": "init"}, "model.activation"),
    ],
)
def test_a_line_is_not_the_mean_over_an_axis_that_the_figure_does_not_show(drawn_frame, y, options, others):
    with pytest.raises(InputError, match=f"several values of {others}: give one in where, or name hue or col"):
        figures.curves(drawn_frame, y=y, **options)


def test_the_lines_can_be_layers(workspace):
    layers = np.arange(1.0, 4) * np.arange(1, 5)[:, None]
    _, frame = workspace.conditions({"spread": {"a": [layers] * 2, "b": [2 * layers] * 2}})
    figure = figures.curves(frame, y="spread", hue="layer", col="condition")
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["1", "2", "3"]
    assert [axis.get_title() for axis in figure.axes] == ["condition: a", "condition: b"]
    for factor, axis in zip((1, 2), figure.axes, strict=True):
        for layer in (1, 2, 3):
            assert lines_of(axis)[str(layer)].get_ydata() == pytest.approx(factor * layer * np.arange(1, 5))


def test_a_condition_has_the_same_style_in_figures_that_show_other_conditions(drawn_frame):
    whole = figures.curves(drawn_frame, y="loss", hue="init", col="model.activation")
    part = figures.curves(drawn_frame[drawn_frame["init"] != "zeta"], y="loss", hue="init", col="model.activation")
    assert list(lines_of(part.axes[0])) == ["alpha", "Mu"]
    for name in ("alpha", "Mu"):
        assert lines_of(part.axes[0])[name].get_color() == lines_of(whole.axes[0])[name].get_color()
