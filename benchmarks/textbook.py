"""Shares of the time of the textbook's studies: the first job of each, in its own process, on one thread.

The real data sets are used if there are any (GOODINIT_DATA, else data/), otherwise the demo scale.
"""

import subprocess
import sys
import tempfile
import time

from goodinit import records, studies
from goodinit.studies import settings


def measure(study: studies.Study, scale: str, results: str) -> tuple[int, dict[str, float]]:
    """Train the first job of a study; return its number of updates, and the seconds of each activity."""
    job = study.jobs(scale)[0]
    command = ["train", study.full_name, "--job", job.name, "--scale", scale, "--results", results]
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "goodinit", *command], check=True, stderr=subprocess.DEVNULL)
    seconds = {"starting": time.perf_counter() - start}
    runs = records.read(records.path(results, scale, study, job))
    for activity in ("training", "evaluating", "diagnosing"):
        seconds[activity] = sum(run.seconds[activity] for run in runs)
        seconds["starting"] -= seconds[activity]
    return sum(run.steps for run in runs), seconds


def main() -> None:
    scale = "laptop" if (settings.data_root() / "MNIST").is_dir() else "demo"
    print(f"{scale} scale{'':20}  updates/s  starting  training  evaluating  diagnosing")
    with tempfile.TemporaryDirectory() as results:
        for study in studies.load_all("configs", ["textbook"]):
            updates, seconds = measure(study, scale, results)
            total = sum(seconds.values())
            shares = "  ".join(f"{value / total:8.0%}" for value in seconds.values())
            print(f"{study.name:32}  {updates / total:9.0f}  {shares}", flush=True)


if __name__ == "__main__":
    main()
