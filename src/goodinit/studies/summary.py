"""What a study does at a scale, in words: what its runs share, what is compared, how many there are."""

__all__ = ["lines"]


def lines(study, scale):
    """Return the protocol of a study at a scale, a line for each part of its runs; none where nothing is run.

    What all runs share is read from the runs themselves, so that the words cannot differ from what is trained.

    Args:
        study: a Study.
        scale: of the runs.
    """
    runs = study.runs(scale)
    if not runs:
        return []
    found = []
    for part in dict.fromkeys(part for run in runs for part in run.parts):
        written = [run.parts.get(part) for run in runs]
        if all(one == written[0] for one in written):
            found += [f"{part}: {_part(written[0])}"] if written[0] else []
        elif shared := _shared(written):
            found.append(f"{part}: {_part(shared)}, and what is compared")
    for axis in runs[0].labels:
        labels = list(dict.fromkeys(str(run.labels[axis]) for run in runs))
        if axis == "trial":
            found.append(f"random search: {len(labels)} trials, drawn anew at each seed")
            continue
        many = f"{len(labels)} from {labels[0]} to {labels[-1]}" if len(labels) > 12 else "; ".join(labels)
        found.append(f"compared: {axis.removesuffix('.name')}: {many}")
    seeds = len({run.seed for run in runs})
    return [*found, f"{len(runs)} runs, {seeds} {'seed' if seeds == 1 else 'seeds'} of each"]


def _shared(parts):
    """Return the options that are the same in all of the parts, which are objects or absent."""
    if not all(isinstance(part, dict) for part in parts):
        return {}
    return {key: value for key, value in parts[0].items() if all(key in one and one[key] == value for one in parts)}


def _part(part):
    if isinstance(part, list):
        return "; ".join(map(_part, part))
    words = [f"{key} {_value(value)}" for key, value in part.items() if key != "name"]
    return ", ".join([part["name"], *words] if "name" in part else words)


def _value(value):
    if isinstance(value, list):
        return " ".join(map(str, value)) or "none"
    return ("no", "yes")[value] if isinstance(value, bool) else str(value)
