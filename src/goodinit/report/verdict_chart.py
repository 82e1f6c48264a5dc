"""Figures of verdicts: how many of each a scale has, and the evidence on each claim of a work."""

import math
from collections import Counter
from collections.abc import Sequence

from goodinit.report import style  # first: it imports matplotlib without the user's settings

# isort: split
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from goodinit.report import DEMONSTRATION
from goodinit.report.claims import ALL_VERDICTS, VERDICTS, JudgedClaim, Verdict
from goodinit.report.distributions import SIGNIFICANCE

__all__ = ["draw_counts", "draw_evidence"]

# Colors that color-blind readers can distinguish, and a marker for those who see no color.
MARKERS: dict[Verdict, tuple[str, str]] = {
    "replicated": ("#009E73", "o"),
    "indicative: for": ("#56B4E9", "^"),
    "indicative: against": ("#E69F00", "v"),
    "contradicted": ("#D55E00", "X"),
    "inconclusive": ("#7F7F7F", "s"),
    "unverified": ("#CC79A7", "P"),
    "yes": ("#009E73", "o"),
    "indicative: yes": ("#56B4E9", "^"),
    "indicative: no": ("#E69F00", "v"),
    "no": ("#D55E00", "X"),
    "open": ("#7F7F7F", "s"),
    "not run": ("#CCCCCC", "_"),
}
ROW_HEIGHT = 0.19  # inches
MIN_P_VALUE = 1e-6  # at the edge of the axis
EDGE = -math.log10(MIN_P_VALUE)
DECIDES = -math.log10(SIGNIFICANCE)


def draw_counts(claims: Sequence[JudgedClaim], scale: str | None) -> Figure:
    """Draw how many claims of each work have each verdict; questions are left out.

    Args:
        claims: from `claims.judge`, of all works.
        scale: of the verdicts, or None if they are those of the largest scale at which each claim was run.
    """
    verdicts: dict[str, list[Verdict]] = {claim.work: [] for claim in claims}
    for claim in claims:
        if claim.kind == "claim":
            verdicts[claim.work].append(claim.verdict)
    largest = "of all claims, each at the largest scale at which it was run"
    where = f"at {scale} scale{_banner(scale)}" if scale else largest
    with style.context():
        figure = Figure(figsize=(9, 0.45 * len(verdicts) + 1.3))
        axis = figure.add_subplot()
        for row, of_work in enumerate(verdicts.values()):
            left = 0
            for verdict in VERDICTS:
                count = of_work.count(verdict)
                axis.barh(row, count, left=left, color=MARKERS[verdict][0], edgecolor="white")
                if count:
                    axis.text(left + count / 2, row, str(count), ha="center", va="center", fontsize=8)
                left += count
        axis.set(yticks=range(len(verdicts)), yticklabels=list(verdicts), xlabel="claims")
        axis.invert_yaxis()
        axis.grid(visible=False)
        axis.set_title(f"Verdicts {where}", loc="left", fontsize=10)
        handles = [Line2D([], [], color=MARKERS[v][0], marker="s", linestyle="", label=v) for v in VERDICTS]
        figure.legend(handles=handles, loc="outside lower center", ncols=len(VERDICTS), fontsize=7.5)
        figure.set_layout_engine("constrained")
    return figure


def draw_evidence(claims: Sequence[JudgedClaim]) -> Figure:
    """Draw a row for each claim of a work: its verdict, its numbers, and how strong the evidence is.

    The strength is the p-value of the verdict, on a logarithmic axis: to the right for the claim, to the left against
    it.  A value in the gray band, where the p-value is 0.05 or more, decides nothing.

    Args:
        claims: from `claims.judge`, of one work at one scale.
    """
    height = ROW_HEIGHT * len(claims) + 1.5
    with style.context():
        figure = Figure(figsize=(12, height))
        top, bottom = 1 - 0.8 / height, 0.5 / height
        names = figure.add_axes((0.005, bottom, 0.6, top - bottom))
        evidence = figure.add_axes((0.62, bottom, 0.36, top - bottom))
        names.set(xlim=(0, 1), xticks=[], yticks=[])
        names.axis("off")
        for row, claim in enumerate(claims):
            color, marker = MARKERS[claim.verdict]
            names.plot(0.012, row, marker, color=color, markersize=6, clip_on=False)
            question = "?" if claim.kind == "question" else ""
            names.text(0.03, row, f"{claim.study}: {claim.claim}{question}", va="center", fontsize=7.5)
            names.text(0.58, row, _numbers(claim), va="center", fontsize=7, family="DejaVu Sans Mono")
            if not math.isnan(claim.p_value):
                _draw_strength(evidence, row, claim)
        for x, header in ((0.03, "claim"), (0.58, "reported  ours [95 % interval], number of runs")):
            names.text(x, -1, header, va="center", fontsize=7, color="#666666")
        for axis in (names, evidence):
            axis.set_ylim(len(claims) - 0.5, -1.5)
        _label_strength(evidence)
        title = f"{claims[0].work}: {len(claims)} claims and questions at {claims[0].scale} scale"
        figure.text(0.005, 1 - 0.1 / height, title + _banner(claims[0].scale), va="top")
        handles = _legend_handles(Counter(claim.verdict for claim in claims))
        figure.legend(handles=handles, loc="upper left", bbox_to_anchor=(0, 1 - 0.25 / height), ncols=8, fontsize=8)
    return figure


def _banner(scale: str) -> str:
    return f".  {DEMONSTRATION}" if scale == "demo" else ""


def _numbers(claim: JudgedClaim) -> str:
    """Return the reported number, ours with its interval and the number of runs in columns of fixed width."""
    reported = "" if math.isnan(claim.reported) else f"{claim.reported:.4g}"
    if claim.verdict == "not run":
        return f"{reported:>8}"
    return f"{reported:>8}  {claim.estimate:.4g} [{claim.low:.3g}, {claim.high:.3g}], {claim.n}"


def _draw_strength(axis: Axes, row: int, claim: JudgedClaim) -> None:
    """Draw how strong the evidence is as a bar from the middle, with the marker of the verdict at its end."""
    color, marker = MARKERS[claim.verdict]
    strength = -math.log10(float(np.clip(claim.p_value, MIN_P_VALUE, 1)))
    strength *= 1 if claim.supports == "yes" else -1
    axis.plot([0, strength], [row, row], color=color, linewidth=1.2)
    axis.plot(strength, row, marker, color=color, markersize=4.5, clip_on=False)


def _label_strength(axis: Axes) -> None:
    """Set limits, ticks and labels of the axis of p-values."""
    axis.axvspan(-DECIDES, DECIDES, color="#EEEEEE", zorder=0)
    axis.axvline(0, color="#000000", linewidth=0.8)
    ticks = [MIN_P_VALUE, 1e-4, SIGNIFICANCE, 1.0]
    strengths = [-math.log10(tick) for tick in ticks]
    labels = [f"≤{MIN_P_VALUE:g}", *(f"{tick:g}" for tick in ticks[1:])]
    axis.set(xlim=(-EDGE * 1.03, EDGE * 1.03), yticks=[])
    axis.set_xticks([-strength for strength in strengths] + strengths[-2::-1], labels + labels[-2::-1], fontsize=7)
    axis.set_xlabel("against the claim  ←  p-value  →  for the claim", fontsize=8)


def _legend_handles(counts: Counter[Verdict]) -> list[Line2D]:
    """Return a legend handle for each verdict and answer that occurs, with the number of claims that have it."""
    handles = []
    for verdict in ALL_VERDICTS:
        if counts[verdict]:
            color, marker = MARKERS[verdict]
            label = f"{counts[verdict]} {verdict}"
            handles.append(Line2D([], [], color=color, marker=marker, linestyle="", label=label))
    return handles
