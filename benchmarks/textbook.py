"""Where the time of the textbook's studies goes: the first job of each, in a process of its own, on one thread.

On the real data where there are any (GOODINIT_DATA, else data/), otherwise at demo scale.
"""

import subprocess
import sys
import tempfile
import time

from goodinit import records, studies
from goodinit.studies import settings


def measure(study, scale, results):
    """Train the study's first job; return its updates, and the seconds by what they were spent on."""
    job = study.jobs(scale)[0]
    command = ["train", f"{study.work}/{study.name}", "--job", job.name, "--scale", scale, "--results", results]
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "goodinit", *command], check=True, stderr=subprocess.DEVNULL)
    seconds = {"starting": time.perf_counter() - start}
    runs = records.read(records.path(results, scale, study, job))
    for what in ("training", "evaluating", "diagnosing"):
        seconds[what] = sum(run.seconds[what] for run in runs)
        seconds["starting"] -= seconds[what]
    return sum(run.steps for run in runs), seconds


def main():
    scale = "laptop" if (settings.data_root() / "MNIST").is_dir() else "demo"
    print(f"{scale} scale{'':20}  updates/s  starting  training  evaluating  diagnosing")
    with tempfile.TemporaryDirectory() as results:
        for study in studies.load_all("configs", ["textbook"]):
            updates, seconds = measure(study, scale, results)
            whole = sum(seconds.values())
            shares = "  ".join(f"{seconds[what] / whole:8.0%}" for what in seconds)
            print(f"{study.name:32}  {updates / whole:9.0f}  {shares}", flush=True)


if __name__ == "__main__":
    main()
