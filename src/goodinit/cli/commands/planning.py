"""The command that plans what to run next."""

import argparse
from pathlib import Path

from goodinit import studies
from goodinit.cli.selection import check_positive, selected_studies

__all__ = ["next_runs"]


def next_runs(options: argparse.Namespace) -> None:
    """List the runs that would answer the claims without an answer, the cheapest first, with their commands."""
    from goodinit.report import build, claims, planning
    from goodinit.training import cost, timing

    check_positive("hours", options.hours)
    check_positive("rate", options.rate)
    selected = selected_studies(options)
    rate = options.rate * 1e12 if options.rate else timing.measure_rate("cpu")
    judged = {
        scale: [
            claim
            for study in selected
            for claim in claims.judged_claims(build.judge(study, scale, Path(options.results)).verdicts)
        ]
        for scale in studies.SCALES[1:]
    }
    plans = planning.plan(selected, judged, Path(options.results), lambda runs: cost.estimate(runs).operations / rate)
    undecided = planning.without_plan(judged, plans)
    if options.hours is not None:
        plans = list(planning.within_budget(plans, options.hours * 3600))
    for item in plans:
        duration = cost.format_duration(item.seconds)
        print(f"{duration} for {item.runs} runs of {item.study.full_name} at {item.scale} scale, which may answer")
        for claim, reason in item.claims.items():
            print(f"    {claim}: {reason}")
        for folder in item.study.folders(item.scale):
            print(f"  place the images in folders/{folder} of the data folder, then")
        if item.seeds is not None:
            print(f"  set seeds: {item.seeds} at scale {item.scale} in {item.study.path}, then")
        print(f"  goodinit train {item.study.full_name} --scale {item.scale}")
    claims_answered = sum(len(item.claims) for item in plans)
    total = cost.format_duration(sum(item.seconds for item in plans))
    origin = "as given" if options.rate else "measured on this CPU"
    print(f"{claims_answered} claims in {total}, at {rate / 1e12:.3g} TFLOP/s ({origin})")
    if undecided:
        print(f"not listed: {', '.join(undecided)}: undecided, and more runs are not expected to decide them")
