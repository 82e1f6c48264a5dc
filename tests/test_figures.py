"""Figures of synthetic records: what is drawn where, and the same bytes each time."""

import itertools
import math
import struct
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from goodinit import records
from goodinit.cli.main import main
from goodinit.errors import InputError
from goodinit.report import claims, drawing, figures, measures, statistics, style, verdict_chart
from goodinit.report.frame import from_records, images

INITS = ["zeta", "alpha", "Mu"]
LAST = [[0, 1, 7, 2, 0, 0], [2, 2, 2, 2, 1, 1], [0, 0, 0, 0, 1, 9]]  # counts of the first seed in each layer
FIGURES = {
    "loss": {"kind": "curves", "title": "Loss of a batch", "y": "loss", "hue": "init", "col": "model.activation",
             "smooth": 11, "y_limits": [0, 9]},
    "relu_alone": {"kind": "curves", "y": "loss", "hue": "init", "where": {"model.activation": "relu"}},
    "seconds": {"kind": "curves", "x": "training_seconds", "y": "loss", "hue": "init"},
    "spread": {"kind": "curves", "x": "layer", "y": "spread", "hue": "init", "col": "model.activation", "log_y": True},
    "histogram": {"kind": "histogram", "each": "model.activation", "counts": "count", "edges": "edge", "row": "init",
                  "col": "layer"},
    "both": {"kind": "curves", "y": ["test_loss", "loss"], "hue": "metric", "col": "init", "wrap": 2,
             "where": {"model.activation": "relu"}},
    "way": {"kind": "path", "col": "init", "curvatures": [0.1, 2.0], "where": {"model.activation": "tanh"}},
    "rates": {"kind": "scatter", "x": ["rate", "decay"], "y": "loss", "at": 3},
}  # fmt: skip
DRAWN = {  # figure: panels, lines in each
    "loss": (2, 3),
    "relu_alone": (1, 3),
    "seconds": (1, 3),
    "spread": (2, 3),
    "histogram_tanh": (9, 0),
    "histogram_relu": (9, 0),
    "both": (4, None),  # three inits, and a place that stays empty
    "way": (4, None),
    "rates": (4, 0),  # with the bar of colors
}


def _numbers(run):
    """Curves that differ with every label and seed; zeta's spread is 0 in layer 2."""
    place = INITS.index(run.labels["init"]) + 3 * (run.labels["model.activation"] == "relu")
    noise = np.random.default_rng([place, run.seed])
    spread = 10.0 ** -np.arange(3) * (1 + place + run.seed) * np.ones((2, 1))
    spread[:, 1] *= run.labels["init"] != "zeta"
    counts = np.stack([np.ones((3, 6)), np.roll(LAST, place + run.seed, axis=1)])
    return {
        "loss": records.Series(np.arange(1, 41), place + noise.random(40)),
        "test_loss": records.Series(np.array([1, 20, 40]), 3 * place + noise.random(3)),
        "rate": records.Series(np.array([0]), np.array([10.0**-place])),
        "decay": records.Series(np.array([0]), np.array([2.0**-place])),
        "position": records.Series(np.arange(5), noise.normal(size=(5, 2)), ("coordinate",)),
        "spread": records.Series(np.array([0, 4]), spread, ("layer",)),
        "count": records.Series(np.array([0, 4]), counts, ("layer", "bin")),
        "edge": records.Series(np.array([0, 4]), np.broadcast_to(np.arange(6) / 6, (2, 3, 6)), ("layer", "bin")),
    }


@pytest.fixture
def study(house):
    return house.study(figures=FIGURES)


@pytest.fixture
def frame(house, study):
    return house.frame(study, _numbers)


def _lines(axis):
    """Return {label: line} of the curves of a panel, without what marks the zeros and the ends."""
    return {line.get_label(): line for line in axis.get_lines() if line.get_label() not in ("exactly 0", "diverged")}


def _crosses(axis):
    return [line for line in axis.get_lines() if line.get_marker() == "x"]


def _triangles(axis):
    return [line for line in axis.get_lines() if line.get_marker() == "v"]


def _book_smooth(x):
    """The book's `smooth_curve`, one sum after the other."""
    window = np.kaiser(11, 2)
    padded = [*x[10:0:-1], *x, *x[-1:-11:-1]]
    smooth = [
        sum(window[j] * padded[i + j] for j in range(11)) / sum(window) for i in range(len(padded) - len(window) + 1)
    ]
    return np.array(smooth[5:-5])


def test_every_kind_is_drawn_here(study):
    assert set(study.figures) == set(DRAWN)
    assert {figure.kind for figure in study.figures.values()} == set(figures.__all__) - {"images"}  # further down


@pytest.mark.parametrize("name", DRAWN)
def test_every_figure_is_whole_and_the_same_twice(study, frame, name):
    drawn = drawing.draw(study, "laptop", name, frame)
    panels, lines = DRAWN[name]
    assert len(drawn.axes) == panels
    expected = [2, 2, 2, 0] if lines is None else [lines] * panels
    assert [len(_lines(axis)) for axis in drawn.axes] == expected
    assert [axis.get_visible() for axis in drawn.axes] == ([True] * 3 + [lines is not None] + [True] * panels)[:panels]
    svg, png = drawing.render(drawn, "svg"), drawing.render(drawn, "png")
    assert ElementTree.fromstring(svg).tag == "{http://www.w3.org/2000/svg}svg"
    assert b"dc:date" not in svg
    assert png.startswith(b"\x89PNG")
    assert b"Software" not in png
    assert struct.unpack(">II", png[16:24]) == tuple(int(150 * length) for length in drawn.get_size_inches())
    assert (drawing.render(drawn, "svg"), drawing.render(drawn, "png")) == (svg, png)
    again = drawing.draw(study, "laptop", name, frame)
    assert (drawing.render(again, "svg"), drawing.render(again, "png")) == (svg, png)


def test_other_numbers_give_another_file(study, frame):
    first = drawing.render(drawing.draw(study, "laptop", "relu_alone", frame), "svg")
    frame.loc[frame["metric"] == "loss", "value"] *= 1.01
    assert drawing.render(drawing.draw(study, "laptop", "relu_alone", frame), "svg") != first


@pytest.mark.parametrize("scale", ["demo", "laptop", "paper"])
def test_title_says_what_of_which_study_at_what_scale(study, frame, scale):
    title = drawing.draw(study, scale, "loss", frame).get_suptitle()
    assert title.startswith("work/study: Loss of a batch\n")
    assert f"{scale} scale, 3 seeds (mean" in title
    assert ("not a replication" in title) == (scale == "demo")
    title = drawing.draw(study, scale, "histogram_tanh", frame[frame["seed"] == 0]).get_suptitle()
    assert title.startswith("work/study: A title, activation tanh\n")
    assert f"{scale} scale, 1 seed" in title
    assert "the first" not in title
    assert ("not a replication" in title) == (scale == "demo")


@pytest.mark.parametrize("name", ["loss", "relu_alone", "spread", "histogram_tanh", "both", "way", "rates"])
def test_nothing_overlaps_the_title_or_leaves_the_page(study, frame, name):
    drawn = drawing.draw(study, "demo", name, frame)
    (title,) = drawn.texts
    box = title.get_window_extent()
    panels = [axis.get_tightbbox() for axis in drawn.axes if axis.get_visible()]
    assert box.y0 >= max(panel.y1 for panel in panels)
    legends = [legend.get_window_extent() for legend in drawn.legends]
    assert all(legend.x0 >= max(panel.x1 for panel in panels) for legend in legends)
    for part in [box, *legends, *panels]:
        assert part.x0 >= 0
        assert part.y0 >= 0
        assert part.x1 <= drawn.bbox.x1
        assert part.y1 <= drawn.bbox.y1


def test_curves_are_the_mean_of_smoothed_runs_in_a_band_of_one_deviation(study, frame):
    drawn = drawing.draw(study, "laptop", "loss", frame)
    assert [axis.get_title() for axis in drawn.axes] == ["activation: tanh", "activation: relu"]
    assert [text.get_text() for text in drawn.legends[0].get_texts()] == INITS
    for axis, activation in zip(drawn.axes, ("tanh", "relu"), strict=True):
        assert axis.get_ylim() == (0, 9)
        assert list(_lines(axis)) == INITS
        for init, band in zip(INITS, axis.collections, strict=True):
            mine = (frame["init"] == init) & (frame["model.activation"] == activation) & (frame["metric"] == "loss")
            runs = [_book_smooth(group["value"].to_numpy()) for _, group in frame[mine].groupby("seed")]
            assert len(runs) == 3
            mean, deviation = np.mean(runs, axis=0), np.std(runs, axis=0, ddof=1)
            steps, values = _lines(axis)[init].get_data()
            np.testing.assert_array_equal(steps, np.arange(1, 41))
            np.testing.assert_allclose(values, mean, rtol=1e-12)
            corners = band.get_paths()[0].vertices
            for step, low, high in zip(steps, mean - deviation, mean + deviation, strict=True):
                heights = corners[corners[:, 0] == step][:, 1]
                assert (heights.min(), heights.max()) == pytest.approx((low, high))


def test_where_chooses_what_is_drawn(study, frame):
    (axis,) = drawing.draw(study, "laptop", "relu_alone", frame).axes
    expected = frame[(frame["model.activation"] == "relu") & (frame["metric"] == "loss") & (frame["init"] == "Mu")]
    np.testing.assert_allclose(_lines(axis)["Mu"].get_ydata(), expected.groupby("step")["value"].mean())


def test_log_axis_has_geometric_means_and_a_triangle_where_0(study, frame):
    drawn = drawing.draw(study, "laptop", "spread", frame)
    assert [text.get_text() for text in drawn.legends[0].get_texts()] == [*INITS, "exactly 0"]
    for place, axis in enumerate(drawn.axes):
        assert axis.get_yscale() == "log"
        layers, values = _lines(axis)["alpha"].get_data()
        np.testing.assert_array_equal(layers, [1, 2, 3])
        geometric = np.prod([2 + 3 * place + seed for seed in range(3)]) ** (1 / 3)
        np.testing.assert_allclose(values, geometric * np.array([1, 0.1, 0.01]))
        (triangle,) = _triangles(axis)
        assert triangle.get_xdata().tolist() == [2]
        assert triangle.get_color() == _lines(axis)["zeta"].get_color()
        assert triangle.get_transform() == axis.get_xaxis_transform()
        assert triangle.get_ydata().tolist() == [0]  # the lower edge, in the axis's own measure


def test_no_triangle_where_a_run_has_no_number(house):
    _, frame = house.arms({"loss": {"a": [[1, 0, 4, 5], [1, 2, np.nan, 5]], "b": [[1, 2, 3, 4], [1, 2, 3, 4]]}})
    drawn = figures.curves(frame, y="loss", hue="condition", log_y=True)
    drawing.render(drawn, "png")
    (axis,) = drawn.axes
    (triangle,) = _triangles(axis)
    assert triangle.get_xdata().tolist() == [2]
    values = _lines(axis)["a"].get_ydata()
    np.testing.assert_allclose(values[[0, 3]], [1, 5])
    assert not (values[[1, 2]] > 0).any()


@pytest.mark.parametrize("log_y", [False, True])
def test_diverged_runs_are_drawn_without_a_warning(house, log_y):
    diverged = [[1, 1e38, np.inf], [1, 2, np.inf], [1, 2, 3]]
    _, frame = house.arms({"loss": {"a": diverged, "b": [[1, 2, 3]] * 3, "c": [[np.nan, np.nan, np.nan]] * 3}})
    drawn = figures.curves(frame, y="loss", hue="condition", log_y=log_y)
    drawing.render(drawn, "png")
    (axis,) = drawn.axes
    assert set(_lines(axis)) == {"a", "b", "c (diverged)"}
    assert _lines(axis)["b"].get_ydata() == pytest.approx([1, 2, 3])
    assert [text.get_text() for text in drawn.legends[0].get_texts()] == ["a", "b", "c (diverged)", "diverged"]
    assert [text.get_text() for text in axis.texts] == ["diverged: c"]
    (cross,) = _crosses(axis)
    assert cross.get_color() == _lines(axis)["a"].get_color()
    assert cross.get_xdata().tolist() == [2]
    assert cross.get_ydata() == pytest.approx(_lines(axis)["a"].get_ydata()[1:2])


@pytest.mark.parametrize("log_y", [False, True])
@pytest.mark.parametrize("lost", [np.nan, np.inf, -np.inf])
def test_a_figure_of_nothing_finite_is_drawn(house, lost, log_y):
    _, frame = house.arms({"loss": {"a": [[lost] * 3] * 3, "b": [[lost] * 3] * 3}})
    drawn = figures.curves(frame, y="loss", hue="condition", log_y=log_y, smooth=3)
    drawing.render(drawn, "png")
    assert [text.get_text() for text in drawn.legends[0].get_texts()] == ["a (diverged)", "b (diverged)"]


def test_what_diverged_in_one_panel_is_named_there(house):
    def numbers(run):
        lost = run.labels == {"model.activation": "relu", "init": "zeta"}
        return {"loss": records.Series(np.arange(4), np.full(4, np.nan if lost else 1.0))}

    drawn = figures.curves(house.frame(house.study(), numbers), y="loss", hue="init", col="model.activation")
    assert [text.get_text() for text in drawn.legends[0].get_texts()] == INITS
    assert [[text.get_text() for text in axis.texts] for axis in drawn.axes] == [[], ["diverged: zeta"]]


def test_a_run_that_stopped_at_a_bound_ends_at_a_cross_on_the_edge(house):
    study = house.study(compare={"init": ["he_normal", "glorot_normal"]})

    def numbers(run):
        diverged = run.labels["init"] == "he_normal" and run.seed == 1
        steps = np.arange(1, 4 if diverged else 7)
        return {"loss": records.Series(steps, 10.0 ** (steps * diverged))}

    made = [
        house.run_record(run, numbers(run), status="finished" if len(numbers(run)["loss"].steps) == 6 else "diverged")
        for run in study.runs("laptop")
    ]
    (file,) = house.files(study)
    records.write(file, made)
    drawn = figures.curves(from_records(study, "laptop", house.results), y="loss", hue="init", y_limits=[0, 9])
    (axis,) = drawn.axes
    (cross,) = _crosses(axis)
    assert [list(data) for data in cross.get_data()] == [[3], [9]]
    assert cross.get_label() == "diverged"
    assert [text.get_text() for text in drawn.legends[0].get_texts()] == ["he_normal", "glorot_normal", "diverged"]


def test_what_is_no_number_before_the_first_update_did_not_diverge(house):
    _, frame = house.arms({"update_size": {"a": [[np.nan, 1, 2]] * 3, "b": [[np.nan] * 3] * 3}})
    drawn = figures.curves(frame, y="update_size", hue="condition")
    assert not _crosses(drawn.axes[0])
    assert [text.get_text() for text in drawn.legends[0].get_texts()] == ["a", "b (not finite)"]


def test_a_histogram_of_what_is_not_finite_says_so(house, study):
    def numbers(run):
        series = _numbers(run)
        count, edge = series["count"].values, series["edge"].values.copy()
        count[1, 0], edge[1, 1] = np.nan, np.inf
        return series | {"edge": records.Series(series["edge"].steps, edge, ("layer", "bin"))}

    for status, word in (("finished", "not finite"), ("diverged", "diverged")):
        house.fill(study, numbers, status=status)
        drawn = drawing.draw(study, "laptop", "histogram_relu", from_records(study, "laptop", house.results))
        drawing.render(drawn, "png")
        panels = np.array(drawn.axes).reshape(3, 3)
        assert [axis.get_ylabel() for axis in panels[:, 0]] == INITS
        assert [[text.get_text() for text in axis.texts] for axis in panels[1]] == [[word], [word], ["90%"]]
        assert [len(axis.patches) for axis in panels[1]] == [0, 0, 1]


def test_a_path_ends_at_a_cross_where_it_left_the_numbers(house, study):
    ways = {"zeta": [[1, 2], [3, 99], [np.nan, 4]], "alpha": [[np.inf, 0]] * 3, "Mu": [[1, 1], [1e30, -1e30], [0, 0]]}

    def numbers(run):
        return {"position": records.Series(np.arange(3), np.array(ways[run.labels["init"]], float), ("coordinate",))}

    house.fill(study, numbers)
    drawn = drawing.draw(study, "laptop", "way", from_records(study, "laptop", house.results))
    drawing.render(drawn, "png")
    titles = [axis.get_title() for axis in drawn.axes if axis.get_visible()]
    assert titles == ["zeta, 2 points (not finite)", "alpha, 0 points (not finite)", "Mu, 3 points"]
    (cross,) = _crosses(drawn.axes[0])
    assert [list(data) for data in cross.get_data()] == [[3], [5]]  # on the edge
    assert not _crosses(drawn.axes[1])
    assert not _crosses(drawn.axes[2])


def test_trials_that_diverged_are_crosses_on_the_edges(house):
    values = np.ones((5, 3, 2))
    values[1, 2, 1] = np.nan
    values[3, :, 1] = np.inf
    study, frame = house.trials({"loss": values})
    options = {"x": ["optimizer.lr", "optimizer.weight_decay"], "y": "loss"}
    drawn = figures.scatter(frame, **options)
    drawing.render(drawn, "png")
    lost = [(2, 2), (4, 0), (4, 1), (4, 2)]  # trials and seeds
    rates, decays = (
        np.array([study.draws("laptop", seed)[trial][path] for trial, seed in lost]) for path in study.tuned
    )
    for axis, (x, y) in zip(drawn.axes, [(rates, [0] * 4), (decays, [0] * 4), (rates, decays)], strict=False):
        (crosses,) = _crosses(axis)
        places, expected = np.transpose(crosses.get_data()), np.transpose([x, y])
        np.testing.assert_allclose(places[np.argsort(places[:, 0])], expected[np.argsort(expected[:, 0])])
        assert axis.get_xlim()[0] < min(x) < max(x) < axis.get_xlim()[1]
        assert len(axis.collections[-1].get_offsets()) == 11
    assert [text.get_text() for text in drawn.axes[0].get_legend().get_texts()] == ["4 diverged"]
    short = frame[(frame["trial"] != 2) | (frame["step"] != 2)]  # it ended before the step that is drawn
    drawn = figures.scatter(short, at=2, **options)
    assert len(_crosses(drawn.axes[0])[0].get_xdata()) == 6
    lost = frame.assign(value=frame["value"].where(frame["metric"] != "loss"))
    assert len(drawing.render(figures.scatter(lost, **options), "png")) > 0


def test_pictures_of_a_run_that_diverged_say_so(house):
    options = {"kind": "images", "metric": "seen", "row": "init", "kinds": ["before"]}
    study = house.study(figures={"seen": options}, compare={"init": ["he_normal", "glorot_normal", "orthonormal"]})
    axes = ("kind", "image", "channel", "row", "column")
    seen = records.Series(np.array([4]), np.zeros((1, 1, 2, 1, 4, 4), np.uint8), axes)
    series = {"he_normal": {"seen": seen}, "glorot_normal": {}, "orthonormal": {"seen": seen}}
    made = [
        house.run_record(
            run,
            series[run.labels["init"]] | {"loss": records.Series(np.arange(4), np.ones(4))},
            status="finished" if run.labels["init"] == "he_normal" else "diverged",
        )
        for run in study.runs("laptop")
    ]
    records.write(house.files(study)[0], made)
    drawn = drawing.draw(study, "laptop", "seen", images(study, "laptop", house.results, "seen"))
    drawing.render(drawn, "png")
    names = ["he_normal", "glorot_normal (diverged)", "orthonormal (diverged)"]
    assert [axis.get_ylabel() for axis in drawn.axes] == names
    assert [len(axis.images) for axis in drawn.axes] == [1, 0, 1]
    assert [text.get_text() for text in drawn.axes[1].texts] == ["diverged"]


@pytest.mark.parametrize("estimate", [math.nan, math.inf, -math.inf])
def test_a_verdict_on_what_is_not_finite_says_so(house, estimate):
    test = {"agrees": {"where": {"init": "zeta", "model.activation": "tanh"}, "metric": "loss", "at": 4}}
    reported = [
        {"metric": "loss", "at": 4, "where": test["agrees"]["where"], "value": 2.0, "source": "here", "verified": True}
    ]
    reported[0]["verified"] = True
    claim = {"id": "near", "says": "It is near.", "source": "here", "test": test}
    study = house.study(claims=[claim], reported=reported)
    frame = house.frame(study, lambda run: {"loss": records.Series(np.array([4]), np.array([1.0]))})
    found = claims.judge(study, "laptop", frame).assign(estimate=estimate, low=math.nan, high=math.nan)
    drawn = verdict_chart.draw(claims.judged_claims(found))
    drawing.render(drawn, "png")
    names, axis = drawn.axes
    assert "not finite (n=3)" in " ".join(text.get_text() for text in names.texts)
    (cross,) = [line for line in axis.get_lines() if line.get_marker() == "x"]
    assert cross.get_xdata().tolist() == [0.01 if estimate < 0 else 1.99]


def test_histogram_shows_the_first_seed_at_the_last_step(study, frame):
    drawn = drawing.draw(study, "laptop", "histogram_relu", frame)
    panels = np.array(drawn.axes).reshape(3, 3)
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


def test_several_metrics_are_lines_named_in_words_in_the_given_order(study, frame):
    drawn = drawing.draw(study, "laptop", "both", frame)
    assert [axis.get_title() for axis in drawn.axes[:3]] == [f"init: {init}" for init in INITS]
    assert [text.get_text() for text in drawn.legends[0].get_texts()] == ["test loss", "loss"]
    assert drawn.legends[0].get_title().get_text() == "metric"
    assert drawn.axes[0].get_ylabel() == "loss"
    for axis, init in zip(drawn.axes, INITS, strict=False):
        mine = frame[(frame["init"] == init) & (frame["model.activation"] == "relu")]
        for label, metric in (("test loss", "test_loss"), ("loss", "loss")):
            expected = mine[mine["metric"] == metric].groupby("step")["value"].mean()
            steps, values = _lines(axis)[label].get_data()
            np.testing.assert_array_equal(steps, expected.index)
            np.testing.assert_allclose(values, expected)


def test_paths_are_the_points_of_the_first_seed_as_they_were_recorded(study, frame):
    drawn = drawing.draw(study, "laptop", "way", frame)
    for axis, init in zip(drawn.axes, INITS, strict=False):
        assert axis.get_title() == f"{init}, 5 points"
        assert (axis.get_xlim(), axis.get_ylim()) == ((-10, 10), (-5, 5))
        place = {"init": init, "model.activation": "tanh", "seed": 0, "metric": "position"}
        rows = frame[np.logical_and.reduce([frame[name] == value for name, value in place.items()])]
        way, least = axis.get_lines()
        for data, coordinate in zip(way.get_data(), (1, 2), strict=True):
            expected = rows[rows["coordinate"] == coordinate].sort_values("step")["value"]
            np.testing.assert_array_equal(data, expected)
        assert [list(data) for data in least.get_data()] == [[0], [0]]
        (levels,) = axis.collections
        for level, line in zip(levels.levels, levels.get_paths(), strict=True):
            x, y = line.vertices.T
            np.testing.assert_allclose(0.05 * x**2 + y**2, level, rtol=1e-2)


def test_paths_of_some_labels(frame):
    drawn = figures.path(frame[frame["init"] != "alpha"], col="init", curvatures=[0.1, 2.0])
    assert [axis.get_title() for axis in drawn.axes if axis.get_visible()] == ["zeta, 5 points", "Mu, 5 points"]


def test_what_is_0_throughout_is_drawn_on_a_logarithmic_axis_without_a_warning(house):
    _, frame = house.arms({"loss": {"A": np.zeros((3, 4)), "B": np.ones((3, 4))}})
    drawn = figures.curves(frame, y="loss", hue="condition", log_y=True)
    assert len(drawing.render(drawn, "png")) > 0


def test_points_are_runs(house):
    values = np.random.default_rng(0).random((5, 3, 2))
    study, frame = house.trials({"accuracy": values})
    drawn = figures.scatter(frame, x=["optimizer.lr", "optimizer.weight_decay"], y="accuracy", at=1)
    first, second, plane, _ = drawn.axes
    draws = [study.draws("laptop", seed) for seed in range(3)]
    runs = [(trial, seed) for trial in range(5) for seed in range(3)]
    rates, decays = (np.array([draws[seed][trial + 1][path] for trial, seed in runs]) for path in study.tuned)
    heights = np.array([values[trial, seed, 0] for trial, seed in runs])
    for axis, expected in ((first, (rates, heights)), (second, (decays, heights)), (plane, (rates, decays))):
        (points,) = axis.collections
        places, expected = points.get_offsets(), np.stack(expected, axis=1)
        np.testing.assert_allclose(places[np.argsort(places[:, 0])], expected[np.argsort(expected[:, 0])])
    assert [axis.get_xscale() for axis in (first, second, plane)] == ["log"] * 3
    assert [axis.get_yscale() for axis in (first, second, plane)] == ["linear", "linear", "log"]
    assert [axis.get_xlabel() for axis in (first, second, plane)] == ["lr", "weight decay", "lr"]
    assert [axis.get_ylabel() for axis in (first, plane)] == ["accuracy", "weight decay"]


@pytest.mark.parametrize("length", [11, 12, 40, 101])
def test_smoothing_is_the_book_s(length):
    curve = np.random.default_rng(length).normal(size=length).cumsum()
    np.testing.assert_allclose(statistics.smooth(curve, 11), _book_smooth(curve), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("length", [1, 2, 5, 11, 40])
@pytest.mark.parametrize("width", [1, 3, 11])
def test_smoothing_keeps_a_constant_and_the_length(length, width):
    np.testing.assert_allclose(statistics.smooth(np.full(length, 2.5), width), np.full(length, 2.5), rtol=1e-14)
    curve = np.random.default_rng(width).normal(size=length)
    smooth = statistics.smooth(curve, width)
    assert smooth.shape == (length,)
    assert smooth.min() >= curve.min() - 1e-12
    assert smooth.max() <= curve.max() + 1e-12


def _lightness(color):
    """Return L* of CIE 1976: 0 is black, 100 white."""
    channels = np.array(to_rgb(color))
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    luminance = linear @ [0.2126, 0.7152, 0.0722]
    return 116 * np.cbrt(luminance) - 16 if luminance > 0.008856 else 903.3 * luminance


def test_colors_are_distinct_and_neighbors_differ_in_grey():
    assert len(set(map(to_rgb, style.COLORS))) == len(style.COLORS)
    lightness = [_lightness(color) for color in style.COLORS]
    assert all(abs(one - other) >= 5 for one, other in itertools.pairwise(lightness))
    assert max(lightness) < 80  # still seen on white


def test_many_lines_are_all_drawn_and_all_look_different(house):
    labels = [f"arm {i}" for i in range(14)]
    _, frame = house.arms({"loss": {label: [[1.0 + i, 2.0], [2.0, 3.0 + i]] for i, label in enumerate(labels)}})
    drawn = figures.curves(frame, y="loss", hue="condition")
    lines = _lines(drawn.axes[0])
    assert list(lines) == labels
    looks = {(to_rgb(line.get_color()), str(line._unscaled_dash_pattern)) for line in lines.values()}
    assert len(looks) == len(labels)


def test_pictures_are_those_of_the_first_seed_at_the_last_step(house, capsys):
    options = {"kind": "images", "metric": "seen", "row": "init", "kinds": ["before", "after"]}
    study = house.study(figures={"seen": options}, compare={"init": ["he_normal", "glorot_normal"]})
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, 2, 2, 4, 3, 5, 5), dtype=np.uint8)

    def numbers(run):
        own = pixels[["he_normal", "glorot_normal"].index(run.labels["init"]), run.seed]
        axes = ("kind", "image", "channel", "row", "column")
        return {"seen": records.Series(np.array([0, 4]), own, axes), "loss": records.Series(np.arange(4), np.ones(4))}

    tidy = house.frame(study, numbers)
    assert "seen" not in set(tidy["metric"])
    found = images(study, "laptop", house.results, "seen")
    assert found["seed"].tolist() == [0, 1, 2] * 2
    drawn = drawing.draw(study, "laptop", "seen", found)
    assert [axis.get_title() for axis in drawn.axes] == ["before", "after", "", ""]
    assert [axis.get_ylabel() for axis in drawn.axes] == ["he_normal", "", "glorot_normal", ""]
    for axis, (init, kind) in zip(drawn.axes, [(0, 0), (0, 1), (1, 0), (1, 1)], strict=True):
        shown = np.asarray(axis.images[0].get_array())
        assert shown.shape == (7, 4 * 7, 3)
        for place, image in enumerate(pixels[init, 0, 1, kind]):
            np.testing.assert_array_equal(shown[1:6, 7 * place + 1 : 7 * place + 6], image.transpose(1, 2, 0))
        assert (shown[[0, 6]] == 255).all()
    svg = drawing.render(drawn, "svg")
    assert drawing.render(drawing.draw(study, "laptop", "seen", found), "svg") == svg
    other = house.study("other", figures={"seen": options | {"kinds": ["one"]}})
    with pytest.raises(InputError, match="kinds: 1 names for 2 kinds of images"):
        drawing.draw(other, "laptop", "seen", found)
    with pytest.raises(measures.NotRun, match="no records with pictures"):
        images(study, "laptop", house.results, "pictures")
    places = ["--configs", str(house.configs), "--results", str(house.results), "--scale", "laptop"]
    main(["figure", "work/study", *places, "--figures", str(house.figures)])
    assert (house.figures / "laptop" / "work" / "study-seen.svg").read_bytes() == svg


def test_a_panel_for_each_layer(house, study, frame):
    options = {"kind": "curves", "x": "step", "y": "spread", "hue": "init", "col": "layer"}
    other = house.study("other", figures={"layers": options | {"where": {"layer": [1, 3]}}})
    drawn = drawing.draw(other, "laptop", "layers", frame)
    assert [axis.get_title() for axis in drawn.axes] == ["layer: 1", "layer: 3"]
    assert [len(_lines(axis)) for axis in drawn.axes] == [3, 3]
