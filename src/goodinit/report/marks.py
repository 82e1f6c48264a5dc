"""What the kinds of figures draw with: lines with bands, and marks for what an axis cannot show."""

import itertools
import textwrap

from goodinit.report import style  # first: it imports matplotlib without the user's settings

# isort: split
import numpy as np
from matplotlib.figure import Figure

from goodinit import records
from goodinit.errors import InputError

__all__ = [
    "condition",
    "cross",
    "crosses",
    "grid",
    "legend",
    "looks",
    "lost",
    "side_by_side",
    "smooth",
    "word",
    "zeros",
]


def grid(rows, columns, width, height, layout="constrained"):
    """Return a figure, and its panels of a width and height in inches, (rows, columns)."""
    figure = Figure(figsize=(width * columns + 1.6, height * rows + 0.9), layout=layout)
    return figure, figure.subplots(rows, columns, squeeze=False, sharey=True)


def looks():
    """Yield how the conditions are told apart: colors and dashes."""
    pairs = zip(itertools.cycle(style.COLORS), itertools.cycle(style.DASHES), strict=False)  # 45 before one comes again
    return ({"color": color, "linestyle": dash} for color, dash in pairs)


def _line(axis, x, values, log_y, *, label, color, linestyle):
    """Draw the mean of `values`, (points, seeds), and a band of one standard deviation; return the mean, (points,)."""
    marker = {"marker": "o", "markersize": 3.5} if 0 < len(x) <= 12 else {}
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):  # 0 has a logarithm of -inf
        values = np.log10(values) if log_y else values
        middle, spread = values.mean(1), values.std(1, ddof=1) if values.shape[1] > 1 else 0
        low, high = middle - spread, middle + spread
        if log_y:
            low, middle, high = 10**low, 10**middle, 10**high
    axis.plot(x, middle, label=label, linewidth=1.4, color=color, linestyle=linestyle, **marker)
    if not log_y or (high > 0).any():  # what is 0 throughout has no place on a logarithmic axis
        axis.fill_between(x, low, high, color=color, alpha=0.18, linewidth=0)
    return middle


# How a condition is named in a panel: small, and still read where a line crosses it.
NAME = {"fontsize": 7, "color": "#444444", "bbox": {"facecolor": "white", "alpha": 0.8, "linewidth": 0, "pad": 1}}


def condition(axis, rows, x, width, log_y, **look):
    """Draw the line of one condition; return the last finite point where it does not reach its end, or None.

    It ends where the first of its runs diverged or has a value that is not finite.
    """
    wide = rows.pivot_table(index=x, columns="seed", values="value", observed=True)
    places, values = wide.index.to_numpy(), wide.to_numpy()
    if wide.empty:
        _line(axis, [], np.empty((0, 1)), log_y, **look)
        return None
    if width:
        values = np.apply_along_axis(smooth, 0, values, width)
    middle = _line(axis, places, values, log_y, **look)
    finite = np.flatnonzero(np.isfinite(values).all(1) & np.isfinite(middle))
    lost = rows.loc[~np.isfinite(rows["value"]), x].max()  # NaN where nothing is
    stopped = x not in records.AXES and (rows["status"] == "diverged").any()
    if not len(finite) or not (stopped or lost > places[finite[-1]]):
        return None
    return places[finite[-1]], middle[finite[-1]]


def cross(axis, x, y, color, label):
    """Put a cross at the last finite point of something that diverged, at the edge where that is out of the panel."""
    x, y = (np.clip(value, *sorted(limits)) for value, limits in ((x, axis.get_xlim()), (y, axis.get_ylim())))
    axis.plot([x], [y], "x", color=color, markersize=6, markeredgewidth=1.5, zorder=4, clip_on=False, label=label)


def crosses(axes, places, label):
    """Put crosses on the lower edges of two panels, and in the plane, at hyper-parameters without a finite value."""
    first, second, plane = axes
    look = {"color": style.COLORS[6], "markersize": 5, "markeredgewidth": 1.2, "zorder": 4, "label": label}
    for axis, place in zip((first, second), places, strict=True):
        edge = np.zeros(len(place))
        axis.plot(place, edge, "x", transform=axis.get_xaxis_transform(), clip_on=False, **look)
    plane.plot(*places, "x", **look)
    first.legend()


def word(rows):
    """Return what became of rows with values that are not finite: `diverged` where a run or its loss did.

    Other metrics have no number for other reasons too, such as the size of an update before the first.
    """
    losses = rows["metric"].astype(str).str.endswith("loss").all()
    return "diverged" if losses or (rows["status"] == "diverged").any() else "not finite"


def legend(figure, axes, title):
    """Put one legend for all panels beside them."""
    named = {}
    for axis in axes:
        named |= dict(zip(*reversed(axis.get_legend_handles_labels()), strict=True))
    figure.legend(named.values(), named, title=title, loc="outside right center", handlelength=3)


def lost(axis, words):
    """Write words in the middle of a panel that has nothing to show."""
    axis.text(0.5, 0.5, words, transform=axis.transAxes, ha="center", va="center", fontsize=8, color="#666666")
    axis.set(xticks=[], yticks=[])


def ends(axes, crosses, conditions):
    """Mark where lines end before the others, and name those that never begin.

    Args:
        axes: the panels.
        crosses: arguments of `cross`.
        conditions: {label of a condition's lines: its rows}.
    """
    for place in crosses:
        cross(*place)
    unseen = {}
    for name, rows in conditions.items():
        lines = [(axis, line) for axis in axes for line in axis.get_lines() if line.get_label() == name]
        without = [(axis, line) for axis, line in lines if not np.isfinite(line.get_ydata()).any()]
        for axis, line in [] if np.isfinite(rows["value"]).all() else without:
            unseen.setdefault(axis, {}).setdefault(word(rows), []).append(name)
            if len(without) == len(lines):
                line.set_label(f"{name} ({word(rows)})")
    for axis, words in unseen.items():
        text = "\n".join(textwrap.fill(f"{what}: {', '.join(names)}", 40) for what, names in words.items())
        axis.text(0.03, 0.97, text, transform=axis.transAxes, va="top", **NAME)


def zeros(axes):
    """Put a triangle on the lower edge wherever a line is 0, which a logarithmic axis cannot show."""
    for axis in axes:
        for line in axis.get_lines():
            x, y = line.get_data()
            lost = np.asarray(x)[np.asarray(y) == 0]
            if len(lost):
                axis.plot(lost, np.zeros(len(lost)), "v", color=line.get_color(), markersize=6, clip_on=False,
                          transform=axis.get_xaxis_transform(), label="exactly 0")  # fmt: skip


def bars(axis, counts, lefts):
    """Draw a histogram of the shares in bins with these left edges, up to 30 %."""
    share, bar = counts / counts.sum(), lefts[1] - lefts[0]
    axis.stairs(share, [*lefts, lefts[-1] + bar], fill=True, color=style.COLORS[0])
    axis.set_ylim(0, 0.3)
    if share.max() > 0.3:
        _say_height(axis, share, lefts, bar)
    axis.set_xlim(lefts[0] - bar * 0.5, lefts[-1] + bar * 1.5)
    axis.set_xticks([lefts[0], lefts[-1] + bar])
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:.2g}")
    axis.set_yticks([0, 0.15, 0.3])
    axis.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")


def side_by_side(axis, images):
    """Show images, uint8 (images, channels, height, width), beside each other with a white frame of one pixel."""
    framed = np.pad(images, [(0, 0), (0, 0), (1, 1), (1, 1)], constant_values=255)
    axis.imshow(np.concatenate(list(framed), 2).transpose(1, 2, 0), interpolation="nearest")


def _say_height(axis, share, left, width):
    """Write how high the highest bar is, which leaves the panel, beside it where the other bars are low."""
    top = int(share.argmax())
    rightward = top < len(share) / 2
    low = range(top, len(share)) if rightward else range(top, -1, -1)
    place = next((bar for bar in low if share[bar] < 0.2), top)
    x = left[place] + width * (0.4 if rightward else 0.6)
    axis.text(x, 0.29, f"{share.max():.0%}", ha="left" if rightward else "right", va="top", fontsize=7)


def smooth(curve, width):
    """Smooth with a normalized Kaiser window of odd width, beta 2, the ends reflected; same length.

    Reference: Saito, Deep Learning from Scratch (2016), `common/util.py`, where the width is 11; as there,
    the last value is repeated in its reflection and the first is not.
    """
    if width % 2 == 0:
        raise InputError(f"smooth: {width} is even: the window has a middle")
    window, half = np.kaiser(width, 2), width // 2
    padded = np.pad(np.pad(curve, (half, 0), mode="reflect"), (0, half), mode="symmetric")
    return np.convolve(padded, window / window.sum(), mode="valid")
