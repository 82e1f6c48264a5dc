"""Pages for people: the verdicts of a scale, its figures, and the table of the README."""

import math

import pandas as pd

from goodinit.studies import summary

__all__ = ["costs", "gallery", "verdict_counts", "verdicts", "works"]

VERDICTS = ("replicated", "contradicted", "inconclusive", "indicative: for", "indicative: against", "not run")
DEMONSTRATION = "**A demonstration at a small scale, on stand-in data: not a replication.**"


def verdicts(studies, found, scale):
    """Return the verdicts of a scale as a Markdown page.

    Args:
        studies: in the order of the page.
        found: from `claims.judge`, of all studies.
        scale: of the verdicts.
    """
    lines = [f"# Verdicts at {scale} scale", ""]
    lines += [DEMONSTRATION, ""] if scale == "demo" else []
    lines += [
        "Each claim with our estimate, its 95 % interval and the number of seeds n. What the estimate is",
        "depends on the test: `within` a mean, `beats` and `ranks` a paired difference (more than 0: as",
        "claimed), `trend` a ratio, `agrees` a mean with the interval in which one more run would lie.",
        "",
    ]
    for study in studies:
        mine = _of(found, study)
        if not mine.empty:
            lines += [f"## {study.work}/{study.name}: {study.title}", "", study.question, ""]
            lines += _claims(mine) + _deviations(study)
    return "\n".join(lines)


def gallery(studies, found, scale, figures, where):
    """Return everything that was made at a scale as a Markdown page: questions, figures, verdicts, deviations.

    Args:
        studies, found, scale: as in `verdicts`; studies that were not run are left out.
        figures: {(work, study): names of its figures}.
        where: the way from the page to the folder of the scale's figures.
    """
    lines = [f"# Goodinit at {scale} scale", ""]
    lines += [DEMONSTRATION, ""] if scale == "demo" else []
    lines += ["All verdicts: [claims.md](claims.md); all numbers: [tables](tables); all records: [runs](runs).", ""]
    for study in studies:
        names = figures.get((study.work, study.name))
        if names is None:
            continue
        lines += [f"## {study.work}/{study.name}: {study.title}", "", study.question, ""]
        lines += [
            f"Source: {study.source}. Numbers: [table](tables/{study.work}/{study.name}.csv).",
            "",
        ]
        for name in names:
            lines += [f"![{study.name}: {name}]({where}/{study.work}/{study.name}-{name}.png)", ""]
        mine = _of(found, study)
        lines += ([] if mine.empty else _claims(mine)) + _deviations(study) + _protocol(study, scale)
    return "\n".join(lines)


def verdict_counts(found):
    """Return the README's table: how many claims of each work have which verdict, at the largest scale that was run.

    Args:
        found: {scale: verdicts of all works}, the largest scale last.
    """
    best = pd.concat(found.values())
    best["ran"] = best["verdict"] != "not run"
    best = best.sort_values("ran", kind="stable").drop_duplicates(["work", "study", "claim"], keep="last")
    counts = best.groupby(["work", "verdict"]).size().unstack(fill_value=0).reindex(columns=VERDICTS, fill_value=0)
    counts = counts.reindex(dict.fromkeys(next(iter(found.values()))["work"]))
    lines = [f"| work | claims | {' | '.join(VERDICTS)} |", "|---|" + "---:|" * (len(VERDICTS) + 1)]
    lines += [
        f"| `{work}` | {row.sum()} | {' | '.join(str(count or '') for count in row)} |"
        for work, row in counts.iterrows()
    ]
    total = counts.sum()
    lines += [f"| all | {total.sum()} | {' | '.join(str(count or '') for count in total)} |"]
    return "\n".join(lines)


def works(cited, studies, found):
    """Return the README's section of each work: what it is, its studies, and one figure with its question.

    Args:
        cited: {work: its entry in configs/works.yaml}, in the order of the page.
        studies: of all works.
        found: as in `verdict_counts`.
    """
    lines = []
    for work, entry in cited.items():
        mine = [study for study in studies if study.work == work]
        name, _, figure = entry["figure"].partition("-")
        shown = next(study for study in mine if study.name == name)
        scale = next((scale for scale in reversed(found) if _was_run(found[scale], shown)), None)
        lines += [
            f"### `{work}`: {entry['about']}",
            "",
            f"{entry['author']}, *{entry['title']}* ({entry['year']}).",
            "",
        ]
        lines += [f"Studies: {', '.join(f'`{study.name}`' for study in mine)}.", ""]
        if scale is not None:
            counts = _of(found[scale], shown)["verdict"].value_counts()
            verdict = ", ".join(f"{counts[name]} {name}" for name in VERDICTS if name in counts)
            lines += [f"![{work}/{name}: {figure}](figures/{scale}/{work}/{entry['figure']}.png)", ""]
            lines += [f"*{shown.question}* Of its claims: {verdict}.", ""]
    return "\n".join(lines).rstrip()


def costs(rows, rate):
    """Return the README's table of what each work takes at each scale.

    Args:
        rows: WorkCosts, from `costs.of_works`.
        rate: operations a second of the device that hours are given for.
    """
    hours = f"hours at {rate / 1e12:g} TFLOP/s"
    lines = [
        f"| scale | work | runs | PFLOP | {hours} | memory of the largest run | recorded, in hours of their devices |",
        "|---|---|---:|---:|---:|---:|---|",
    ]
    for scale, work, runs, operations, memory, seconds, recorded in rows:
        took = f"{recorded} of {runs} runs, {seconds / 3600:.2f}" if recorded else ""
        sizes = f"{operations / 1e15:.3g} | {operations / rate / 3600:.2g} | {memory / 2**30:.2g} GiB"
        lines.append(f"| {scale} | `{work}` | {runs} | {sizes} | {took} |")
    return "\n".join(lines)


def _was_run(found, study):
    return (_of(found, study)["verdict"] != "not run").any()


def _of(found, study):
    return found[(found["work"] == study.work) & (found["study"] == study.name)]


def _claims(mine):
    lines = ["| claim | in the source | reported | test | ours | n | verdict |", "|---|---|---|---|---|---|---|"]
    for row in mine.itertuples():
        note = f" *{row.note}*" if row.note else ""
        unverified = "" if row.verified == "yes" else " (unverified)"
        said = "" if math.isnan(row.reported) else f"{row.reported:g}{unverified}"
        ours = f"{row.estimate:.4g} [{row.low:.4g}, {row.high:.4g}]" if row.n else ""
        lines.append(
            f"| {row.says}{note} | {row.source} | {said} | {row.test} | {ours} | {row.n} | **{row.verdict}** |"
        )
    return [*lines, ""]


def _deviations(study):
    said = study.deviations
    return ["Deviations from the source:", "", *(f"- {one}" for one in said), ""] if said else [""]


def _protocol(study, scale):
    said = summary.lines(study, scale)
    return [
        f"<details><summary>Protocol at {scale} scale</summary>",
        "",
        *(f"- {one}" for one in said),
        "",
        "</details>",
        "",
    ]
