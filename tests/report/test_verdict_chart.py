"""The figures of verdicts count them, and show how strong the evidence on each claim is."""

import math

import numpy as np
import pytest
from sample_results import CLAIMS, decreasing_loss

from goodinit.report import claims, drawing, verdict_chart


@pytest.fixture
def verdicts(workspace, claimed_study):
    """Return the verdicts on the claims of a study."""
    return claims.judge(claimed_study, "laptop", workspace.frame(claimed_study, decreasing_loss))


def _strength(figure):
    """Return the ends of the bars of evidence, by row."""
    bars = [line.get_xydata() for line in figure.axes[1].lines if len(line.get_xdata()) == 2]
    return {bar[0, 1]: bar[1, 0] for bar in bars if bar[0, 1] == bar[1, 1]}


def test_each_claim_has_a_row_with_the_strength_of_its_evidence(verdicts):
    figure = verdict_chart.draw_evidence(claims.judged_claims(verdicts))
    texts = [text.get_text() for text in figure.axes[0].texts]
    for claim in CLAIMS:
        question = "?" if claim.get("kind") == "question" else ""
        assert f"study: {claim['id']}{question}" in texts
    signs = np.where(verdicts["supports"] == "yes", 1, -1)
    expected = signs * np.minimum(-np.log10(np.maximum(verdicts["p_value"], 1e-6)), 6)
    assert _strength(figure) == pytest.approx(dict(enumerate(expected)))
    assert expected[0] > 1.3 > -1.3 > expected[1]


def test_a_claim_that_was_not_run_has_a_row_and_no_evidence(verdicts):
    rows = claims.judged_claims(verdicts[:1].assign(p_value=math.nan, verdict="not run"))
    figure = verdict_chart.draw_evidence(rows)
    assert _strength(figure) == {}
    assert "study: low" in [text.get_text() for text in figure.axes[0].texts]


def test_the_legend_counts_the_verdicts_that_occur(verdicts):
    figure = verdict_chart.draw_evidence(claims.judged_claims(verdicts))
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["1 replicated", "1 contradicted", "1 unverified", "1 yes"]


def test_counts_of_claims_are_bars_of_each_work(verdicts):
    (claim,) = claims.judged_claims(verdicts[:1])
    counted = {"a": ["replicated", "replicated", "not run"], "b": ["contradicted"]}
    rows = [claim._replace(work=work, verdict=verdict) for work in counted for verdict in counted[work]]
    question = claim._replace(work="b", kind="question", verdict="yes")
    (axis,) = verdict_chart.draw_counts([*rows, question], "laptop").axes
    assert [label.get_text() for label in axis.get_yticklabels()] == ["a", "b"]
    bars = [(bar.get_y() > 0.5, bar.get_x(), bar.get_width()) for bar in axis.patches if bar.get_width()]
    assert bars == [(False, 0, 2), (False, 2, 1), (True, 0, 1)]
    assert [text.get_text() for text in axis.texts] == ["2", "1", "1"]


@pytest.mark.parametrize("scale", ["demo", "laptop"])
def test_a_demonstration_is_marked(verdicts, scale):
    (title,) = verdict_chart.draw_evidence(claims.judged_claims(verdicts.assign(scale=scale))).texts
    assert ("not a replication" in title.get_text()) == (scale == "demo")
    (axis,) = verdict_chart.draw_counts(claims.judged_claims(verdicts), scale).axes
    assert ("not a replication" in axis.get_title(loc="left")) == (scale == "demo")


@pytest.mark.parametrize("estimate", [math.nan, math.inf, -math.inf])
def test_an_estimate_that_is_not_finite_is_written_as_it_is(verdicts, estimate):
    rows = claims.judged_claims(verdicts[-1:].assign(estimate=estimate, low=-math.inf, high=math.inf))
    figure = verdict_chart.draw_evidence(rows)
    drawing.render(figure, "png")
    assert f"{estimate:.4g} [-inf, inf], 3" in " ".join(text.get_text() for text in figure.axes[0].texts)


def test_every_verdict_has_a_marker():
    assert set(verdict_chart.MARKERS) == {*claims.VERDICTS, *claims.ANSWERS}
