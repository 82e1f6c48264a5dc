"""All claims of a work at a glance: the paper's number, ours, and the verdict."""

import math

from goodinit.report import style  # first: it imports matplotlib without the user's settings

# isort: split
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

__all__ = ["verdicts"]

# Colors that the color-blind can tell apart, and a marker for those who see none.
MARKS = {
    "replicated": ("#009E73", "o"),
    "contradicted": ("#D55E00", "X"),
    "inconclusive": ("#7F7F7F", "s"),
    "indicative: for": ("#56B4E9", "^"),
    "indicative: against": ("#E69F00", "v"),
    "not run": ("#CCCCCC", "_"),
}
ROW = 0.19  # inches


def verdicts(found, scale):
    """Draw a row for each claim of one work: its verdict, and, where a number was reported, ours as a multiple of it.

    Args:
        found: from `claims.judge`, of one work.
        scale: of the verdicts.

    Returns:
        A matplotlib Figure; a cross at the edge is a multiple beyond it, or a value that is not finite.
    """
    height = ROW * len(found) + 1.3
    with style.context():
        figure = Figure(figsize=(11, height))
        top, bottom = 1 - 0.75 / height, 0.45 / height
        names = figure.add_axes((0.005, bottom, 0.55, top - bottom))
        axis = figure.add_axes((0.6, bottom, 0.38, top - bottom))
        names.set(xlim=(0, 1), xticks=[], yticks=[])
        names.axis("off")
        for place, row in enumerate(found.itertuples()):
            color, marker = MARKS[row.verdict]
            names.plot(0.012, place, marker, color=color, markersize=6, clip_on=False)
            names.text(0.03, place, f"{row.study}: {row.claim}", va="center", fontsize=7.5)
            names.text(0.62, place, _numbers(row), va="center", fontsize=7, family="DejaVu Sans Mono")
            if not math.isnan(row.reported) and row.verdict != "not run":
                _multiple(axis, place, row, color)
        for x, words in ((0.03, "claim"), (0.62, "reported  ours, the number of seeds")):
            names.text(x, -1, words, va="center", fontsize=7, color="#666666")
        for one in (names, axis):
            one.set_ylim(len(found) - 0.5, -1.5)
        axis.axvline(1, color="#000000", linewidth=0.8)
        axis.set(xlim=(0, 2), yticks=[], xlabel="ours as a multiple of the reported number, with its interval")
        work = found["work"].iloc[0]
        demonstration = "  DEMONSTRATION: not a replication" if scale == "demo" else ""
        figure.text(0.005, 1 - 0.1 / height, f"{work}: {len(found)} claims at {scale} scale{demonstration}", va="top")
        counts = found["verdict"].value_counts()
        handles = [
            Line2D([], [], color=color, marker=marker, linestyle="", label=f"{counts.get(name, 0)} {name}")
            for name, (color, marker) in MARKS.items()
        ]
        figure.legend(handles=handles, loc="upper left", bbox_to_anchor=(0, 1 - 0.25 / height), ncols=6, fontsize=8)
    return figure


def _numbers(row):
    said = "" if math.isnan(row.reported) else f"{row.reported:.4g}"
    mean = f"{row.estimate:.4g}" if math.isfinite(row.estimate) else "not finite"
    ours = "" if row.verdict == "not run" else f"{mean} (n={row.n})"
    return f"{said:>8}  {ours}"


def _multiple(axis, place, row, color):
    """Draw a multiple with its interval, inside the panel; one that is not finite is at the edge."""
    middle, low, high = (value / row.reported for value in (row.estimate, row.low, row.high))
    inside = float(np.clip(np.nan_to_num(middle, nan=math.inf), 0.01, 1.99))
    axis.plot([max(low, 0), min(high, 2)], [place, place], color=color, linewidth=1.2)
    axis.plot(inside, place, "o" if inside == middle else "x", color=color, markersize=4)
