"""The verdicts on all claims of a work in one figure: the reported number, ours, and the verdict."""

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
from goodinit.report.claims import VERDICTS, JudgedClaim, Verdict

__all__ = ["draw"]

# Colors that color-blind readers can distinguish, and a marker for those who see no color.
MARKERS: dict[Verdict, tuple[str, str]] = {
    "replicated": ("#009E73", "o"),
    "contradicted": ("#D55E00", "X"),
    "inconclusive": ("#7F7F7F", "s"),
    "indicative: for": ("#56B4E9", "^"),
    "indicative: against": ("#E69F00", "v"),
    "not run": ("#CCCCCC", "_"),
}
ROW_HEIGHT = 0.19  # inches


def draw(claims: Sequence[JudgedClaim]) -> Figure:
    """Draw a row for each claim of a work: its verdict, and our number as a multiple of the reported one.

    A claim without a reported number has no multiple.  A cross at the edge is a multiple beyond it, or a value that
    is not finite.

    Args:
        claims: from `claims.judge`, of one work at one scale.
    """
    height = ROW_HEIGHT * len(claims) + 1.3
    with style.context():
        figure = Figure(figsize=(11, height))
        top, bottom = 1 - 0.75 / height, 0.45 / height
        names = figure.add_axes((0.005, bottom, 0.55, top - bottom))
        multiples = figure.add_axes((0.6, bottom, 0.38, top - bottom))
        names.set(xlim=(0, 1), xticks=[], yticks=[])
        names.axis("off")
        for row, claim in enumerate(claims):
            color, marker = MARKERS[claim.verdict]
            names.plot(0.012, row, marker, color=color, markersize=6, clip_on=False)
            names.text(0.03, row, f"{claim.study}: {claim.claim}", va="center", fontsize=7.5)
            names.text(0.62, row, _numbers(claim), va="center", fontsize=7, family="DejaVu Sans Mono")
            if not math.isnan(claim.reported) and claim.verdict != "not run":
                _draw_multiple(multiples, row, claim, color)
        for x, header in ((0.03, "claim"), (0.62, "reported  ours, the number of seeds")):
            names.text(x, -1, header, va="center", fontsize=7, color="#666666")
        for axis in (names, multiples):
            axis.set_ylim(len(claims) - 0.5, -1.5)
        multiples.axvline(1, color="#000000", linewidth=0.8)
        multiples.set(xlim=(0, 2), yticks=[], xlabel="ours as a multiple of the reported number, with its interval")
        work, scale = claims[0].work, claims[0].scale
        banner = f".  {DEMONSTRATION}" if scale == "demo" else ""
        figure.text(0.005, 1 - 0.1 / height, f"{work}: {len(claims)} claims at {scale} scale{banner}", va="top")
        handles = _legend_handles(Counter(claim.verdict for claim in claims))
        figure.legend(handles=handles, loc="upper left", bbox_to_anchor=(0, 1 - 0.25 / height), ncols=6, fontsize=8)
    return figure


def _numbers(claim: JudgedClaim) -> str:
    """Return the reported number, ours and the number of seeds in columns of fixed width."""
    reported = "" if math.isnan(claim.reported) else f"{claim.reported:.4g}"
    estimate = f"{claim.estimate:.4g}" if math.isfinite(claim.estimate) else "not finite"
    ours = "" if claim.verdict == "not run" else f"{estimate} (n={claim.n})"
    return f"{reported:>8}  {ours}"


def _draw_multiple(axis: Axes, row: int, claim: JudgedClaim, color: str) -> None:
    """Draw a multiple with its interval; one that is not finite, or outside the axis, is a cross at the edge."""
    multiple, low, high = (value / claim.reported for value in (claim.estimate, claim.low, claim.high))
    clipped = float(np.clip(np.nan_to_num(multiple, nan=math.inf), 0.01, 1.99))
    axis.plot([max(low, 0), min(high, 2)], [row, row], color=color, linewidth=1.2)
    axis.plot(clipped, row, "o" if clipped == multiple else "x", color=color, markersize=4)


def _legend_handles(counts: Counter[Verdict]) -> list[Line2D]:
    """Return a legend handle for each verdict, with the number of claims that have it."""
    handles = []
    for verdict in VERDICTS:
        color, marker = MARKERS[verdict]
        label = f"{counts[verdict]} {verdict}"
        handles.append(Line2D([], [], color=color, marker=marker, linestyle="", label=label))
    return handles
