"""The figure of verdicts has a row for each claim, and a multiple for each reported number."""

import math

import pytest
from sample_results import CLAIMS, decreasing_loss

from goodinit.report import claims, drawing, verdict_chart


@pytest.fixture
def verdicts(house, claimed_study):
    """Return the verdicts on the claims of a study."""
    return claims.judge(claimed_study, "laptop", house.frame(claimed_study, decreasing_loss))


def test_each_claim_has_a_row_and_each_reported_number_a_multiple(verdicts):
    names, multiples = verdict_chart.draw(claims.judged_claims(verdicts)).axes
    texts = [text.get_text() for text in names.texts]
    for claim in CLAIMS:
        assert f"study: {claim['id']}" in texts
    (point,) = [line for line in multiples.lines if line.get_marker() == "o"]
    assert point.get_xdata()[0] == pytest.approx(verdicts["estimate"].iloc[3] / 2.0)


def test_the_legend_counts_the_verdicts(verdicts):
    figure = verdict_chart.draw(claims.judged_claims(verdicts))
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    counts = ["2 replicated", "1 contradicted", "0 inconclusive", "1 indicative: for", "0 indicative: against"]
    assert labels == [*counts, "0 not run"]


@pytest.mark.parametrize("scale", ["demo", "laptop"])
def test_a_demonstration_is_marked(verdicts, scale):
    (title,) = verdict_chart.draw(claims.judged_claims(verdicts.assign(scale=scale))).texts
    assert ("not a replication" in title.get_text()) == (scale == "demo")


@pytest.mark.parametrize("estimate", [math.nan, math.inf, -math.inf])
def test_an_estimate_that_is_not_finite_is_a_cross_at_the_edge(verdicts, estimate):
    rows = claims.judged_claims(verdicts[-1:].assign(estimate=estimate, low=math.nan, high=math.nan))
    figure = verdict_chart.draw(rows)
    drawing.render(figure, "png")
    names, multiples = figure.axes
    assert "not finite (n=3)" in " ".join(text.get_text() for text in names.texts)
    (cross,) = [line for line in multiples.get_lines() if line.get_marker() == "x"]
    assert cross.get_xdata().tolist() == [0.01 if estimate < 0 else 1.99]
