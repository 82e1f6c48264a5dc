"""Figures have a title, fit on their page, and are the same bytes each time."""

import struct
from xml.etree import ElementTree

import pytest
from sample_results import lines_of

from goodinit.report import drawing, figures, style

CONTENTS = {  # figure: number of panels, number of lines in each
    "loss": (2, 3),
    "relu_alone": (1, 3),
    "seconds": (1, 3),
    "spread": (2, 3),
    "histogram_tanh": (9, 0),
    "histogram_relu": (9, 0),
    "both": (4, None),  # three inits, and an empty panel
    "path": (4, None),
    "cells": (2, 0),  # with the color bar
    "rates": (4, 0),  # with the color bar
}


def test_the_sample_has_figures_of_every_kind_except_images(drawn_study):
    assert set(drawn_study.figures) == set(CONTENTS)
    assert {spec.kind for spec in drawn_study.figures.values()} == set(figures.__all__) - {"images"}


@pytest.mark.parametrize("name", CONTENTS)
def test_every_figure_is_complete_and_deterministic(drawn_study, drawn_frame, name):
    figure = drawing.draw(drawn_study, "laptop", name, drawn_frame)
    panels, lines = CONTENTS[name]
    assert len(figure.axes) == panels
    expected = [2, 2, 2, 0] if lines is None else [lines] * panels
    assert [len(lines_of(axis)) for axis in figure.axes] == expected
    assert [axis.get_visible() for axis in figure.axes] == ([True] * 3 + [lines is not None] + [True] * panels)[:panels]
    svg, png = drawing.render(figure, "svg"), drawing.render(figure, "png")
    assert ElementTree.fromstring(svg).tag == "{http://www.w3.org/2000/svg}svg"
    assert b"dc:date" not in svg
    assert png.startswith(b"\x89PNG")
    assert b"Software" not in png
    assert struct.unpack(">II", png[16:24]) == tuple(int(150 * length) for length in figure.get_size_inches())
    assert (drawing.render(figure, "svg"), drawing.render(figure, "png")) == (svg, png)
    again = drawing.draw(drawn_study, "laptop", name, drawn_frame)
    assert (drawing.render(again, "svg"), drawing.render(again, "png")) == (svg, png)


@pytest.mark.parametrize("name", ["relu_alone", "rates"])
def test_bands_and_clouds_of_many_points_are_pixels(drawn_study, drawn_frame, monkeypatch, name):
    images = {}
    for most in (5, 1000):
        monkeypatch.setattr(style, "MAX_VECTOR_POINTS", most)
        svg = drawing.render(drawing.draw(drawn_study, "laptop", name, drawn_frame), "svg")
        images[most] = svg.count(b"<image")
    assert images[5] > images[1000]


def test_different_numbers_give_a_different_file(drawn_study, drawn_frame):
    first = drawing.render(drawing.draw(drawn_study, "laptop", "relu_alone", drawn_frame), "svg")
    drawn_frame.loc[drawn_frame["metric"] == "loss", "value"] *= 1.01
    assert drawing.render(drawing.draw(drawn_study, "laptop", "relu_alone", drawn_frame), "svg") != first


@pytest.mark.parametrize("scale", ["demo", "laptop", "paper"])
def test_the_title_names_study_figure_scale_and_seeds(drawn_study, drawn_frame, scale):
    title = drawing.draw(drawn_study, scale, "loss", drawn_frame).get_suptitle()
    assert title.startswith("work/study: Loss of a batch\n")
    assert f"{scale} scale, 3 seeds (mean" in title
    assert ("not a replication" in title) == (scale == "demo")
    title = drawing.draw(drawn_study, scale, "histogram_tanh", drawn_frame[drawn_frame["seed"] == 0]).get_suptitle()
    assert title.startswith("work/study: A title, activation tanh\n")
    assert f"{scale} scale, 1 seed" in title
    assert "the first" not in title
    assert ("not a replication" in title) == (scale == "demo")


def test_the_title_says_where_conditions_have_different_numbers_of_seeds(drawn_study, drawn_frame):
    missing = (drawn_frame["init"] == "zeta") & (drawn_frame["seed"] > 0)
    partial = drawn_frame[~missing]
    partial.attrs["complete"] = False
    assert "laptop scale, 1 to 3 seeds (mean" in drawing.draw(drawn_study, "laptop", "loss", partial).get_suptitle()
    without = partial[partial["init"] != "zeta"]
    assert "laptop scale, 3 seeds (mean" in drawing.draw(drawn_study, "laptop", "loss", without).get_suptitle()


@pytest.mark.parametrize("name", ["loss", "relu_alone", "spread", "histogram_tanh", "both", "path", "cells", "rates"])
def test_nothing_overlaps_the_title_or_leaves_the_page(drawn_study, drawn_frame, name):
    figure = drawing.draw(drawn_study, "demo", name, drawn_frame)
    (title,) = figure.texts
    box = title.get_window_extent()
    panels = [axis.get_tightbbox() for axis in figure.axes if axis.get_visible()]
    assert box.y0 >= max(panel.y1 for panel in panels)
    legends = [legend.get_window_extent() for legend in figure.legends]
    assert all(legend.x0 >= max(panel.x1 for panel in panels) for legend in legends)
    for part in [box, *legends, *panels]:
        assert part.x0 >= 0
        assert part.y0 >= 0
        assert part.x1 <= figure.bbox.x1
        assert part.y1 <= figure.bbox.y1
