"""The command `goodinit`."""

import argparse
import os
import sys
from pathlib import Path

from goodinit import record, settings, spec
from goodinit.signatures import InputError, nearest

__all__ = ["main"]

MARKS = ("<!-- verdicts: written by make figures -->", "<!-- end of verdicts -->")
BATCHES = (1, 4, 16)  # mini-batches whose memory is estimated beside the study's own
EXAMPLES = """\
examples:
  goodinit list --scale laptop                    what there is, and what has been run
  goodinit train xavier_he/mnist --scale laptop   train a study's runs that have no record yet
  goodinit estimate --scale paper --rate 20       what that would cost, at 20 TFLOP/s
  goodinit table xavier_he/mnist --scale laptop   its table, from the records
  goodinit claims --scale laptop                  the verdicts
  goodinit report --scale laptop                  tables, figures, verdicts and pages, of everything
  goodinit compare results/laptop mine/laptop     did another machine reproduce them?
  goodinit show c3fe                              a run, by the beginning of its id
"""


def main(arguments=None):
    """Run one subcommand; a user's mistake ends with one line on standard error and exit status 2."""
    options = _parser().parse_args(arguments)
    try:
        options.command(options)
    except InputError as error:
        sys.exit(_fail(error))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        sys.exit(_fail(f"{error.filename or 'output'}: {error.strerror or error}: check space and permissions"))
    except KeyboardInterrupt:
        print("goodinit: interrupted; what was not finished is not recorded", file=sys.stderr)
        sys.exit(130)


def list_studies(options):
    """Print every study with its runs and how many have a record; or, of one study, every run."""
    for study in _studies(options):
        jobs = study.jobs(options.scale)
        done = [job for job in jobs if record.path(options.results, options.scale, study, job).exists()]
        runs, recorded = (sum(len(job.runs) for job in some) for some in (jobs, done))
        print(f"{study.work}/{study.name}: {study.body['title']}")
        print(f"  {options.scale} scale: {runs} runs in {len(jobs)} jobs; {recorded} recorded")
        if not options.runs:
            continue
        for job in jobs:
            print(f"  job {job.name}{' (recorded)' if job in done else ''}")
            for run in job.runs:
                print(f"    {run.id}  seed {run.seed}  {run.title}")


def prepare(options):
    """Prepare a data set's arrays."""
    from goodinit import runner

    print(runner.prepare(options.name, settings.data_root(options.data_root)))


def train(options):
    """Train the jobs of the chosen studies that have no record."""
    jobs = []
    for study in _studies(options):
        for job in study.jobs(options.scale):
            file = record.path(options.results, options.scale, study, job)
            if options.job in (None, job.name):
                jobs.append((study, job, file))
    if options.job and not jobs:
        names = [job.name for study in _studies(options) for job in study.jobs(options.scale)]
        raise InputError(f"job: no job {options.job!r} at {options.scale} scale{nearest(options.job, names)}")
    waiting = [item for item in jobs if not _recorded(item)]
    print(f"{len(jobs)} jobs, {len(jobs) - len(waiting)} of them recorded already", file=sys.stderr)
    if waiting:
        from goodinit import jobs as training

        training.train(waiting, options.scale, options.data_root, options.device, options.threads)


def estimate(options):
    """Print what each study costs at a scale, before anything is run: operations, memory, time on a device."""
    from goodinit import cost

    if options.rate is not None and options.rate <= 0:
        raise InputError(f"rate: {options.rate} is not more than 0")
    rate = options.rate * 1e12 if options.rate else cost.rate("cpu")
    origin = "as given" if options.rate else "measured on this CPU"
    print(f"{options.scale} scale, at {rate / 1e12:.3g} TFLOP/s ({origin}), which real training seldom reaches")
    sizes = ", ".join(map(str, BATCHES))
    print(
        f"{'':32}  {'runs':>5}  {'PFLOP':>9}  {'evaluating':>10}  {'time':>12}  memory of a run, at batches of {sizes}"
    )
    total = 0.0
    for study in _studies(options):
        runs = study.runs(options.scale)
        try:
            found = cost.of(runs)
            memory = [cost.of(_distinct(runs), size).memory for size in BATCHES]
        except InputError as error:
            raise InputError(f"{study.path}: {error}") from None
        operations = found.operations
        total += operations / rate
        share = f"{found.evaluation / operations:.0%}" if operations else ""
        name, time = f"{study.work}/{study.name}", cost.words(operations / rate)
        held = f"{found.memory / 2**20:6.0f} MiB, {', '.join(f'{one / 2**20:.0f}' for one in memory)}"
        print(f"{name:32}  {len(runs):5}  {operations / 1e15:9.3g}  {share:>10}  {time:>12}  {held}")
    print(f"{'all':32}  {'':5}  {total * rate / 1e15:9.3g}  {'':10}  {cost.words(total):>12}")


def _distinct(runs):
    """Return the runs of the first seed."""
    return [run for run in runs if run.seed == 0]


def table(options):
    """Write each study's table as CSV."""
    from goodinit.report import build

    for study, frame in _frames(options):
        print(build.write_table(study, options.scale, options.results, frame))


def figure(options):
    """Draw each study's figures as SVG and PNG."""
    from goodinit.report import build

    for study, frame in _frames(options):
        known = study.figures()
        if options.figure and options.figure not in known:
            raise InputError(
                f"figure: {study.work}/{study.name} has no {options.figure!r}{nearest(options.figure, known)}"
            )
        names = [options.figure] if options.figure else None
        for file in build.write_figures(study, options.scale, options.results, options.figures, frame, names):
            print(file)


def claims(options):
    """Write the verdicts on every claim as CSV and as a page."""
    import pandas as pd

    from goodinit.report import build, claims, tables

    studies = _studies(options)
    found = []
    for study in studies:
        try:
            frame = tables.frame(study, options.scale, options.results)
        except tables.NotRun:
            frame = None
        found.append(claims.judge(study, options.scale, frame))
    found = [some for some in found if len(some)]
    if not found:
        raise InputError("claims: the chosen studies make none: add them to a study's file under claims")
    verdicts = pd.concat(found, ignore_index=True)
    _, page = build.write_verdicts(studies, verdicts, options.scale, options.results)
    counts = verdicts["verdict"].value_counts()
    print(f"{page}: {', '.join(f'{count} {verdict}' for verdict, count in counts.items())}")


def report(options):
    """Write everything that is made of a scale's records: tables, figures, verdicts and pages."""
    from goodinit.report import build

    made = build.everything(_studies(options), options.scale, options.results, options.figures, options.processes)
    print(f"{options.scale} scale: {len(made)} files, {made[-1]} among them")


def readme(options):
    """Write the README's table of verdicts anew, or say that it is stale."""
    import pandas as pd

    from goodinit.report import pages

    scales = [scale for scale in spec.SCALES[1:] if (Path(options.results) / scale / "claims.csv").exists()]
    found = {scale: pd.read_csv(Path(options.results) / scale / "claims.csv") for scale in scales}
    text = Path(options.file).read_text(encoding="utf-8")
    try:
        before, rest = text.split(MARKS[0])
        _, after = rest.split(MARKS[1])
    except ValueError:
        raise InputError(f"{options.file}: the lines {MARKS[0]} and {MARKS[1]} must stand in it once each") from None
    new = f"{before}{MARKS[0]}\n\n{pages.summary(found)}\n\n{MARKS[1]}{after}"
    if options.check and new != text:
        raise InputError(f"{options.file}: its table of verdicts is stale: make figures")
    if not options.check:
        record.replace(Path(options.file), new.encode())


def compare(options):
    """Compare two folders of records, number by number; exit with 1 where they differ by more than the seeds do."""
    import pandas as pd

    from goodinit.report import compare, tables

    roots = [_root(folder, options.scale) for folder in (options.one, options.other)]
    found = []
    for study in _studies(options):
        try:
            found.append(compare.compare(study, options.scale, *roots).assign(study=f"{study.work}/{study.name}"))
        except tables.NotRun:
            continue
    if not found:
        raise InputError(f"compare: no study has records at {options.scale} scale in both {roots[0]} and {roots[1]}")
    for rows in found:
        counts = rows["found"].value_counts()
        print(f"{rows['study'].iloc[0]}: {', '.join(f'{count} {what}' for what, count in counts.items())}")
        for row in rows[rows["found"] == "different"].to_dict("records"):
            labels = ", ".join(f"{key} {value}" for key, value in row.items() if key not in compare.COLUMNS)
            print(f"  different: {row['metric']} at {row['at']}, {labels}: {row['one']:.6g} and {row['other']:.6g}, "
                  f"spread {row['spread']:.3g}, n {row['n']}")  # fmt: skip
    every = pd.concat(found)["found"].value_counts()
    print(f"all: {', '.join(f'{count} {what}' for what, count in every.items())}")
    sys.exit(int("different" in every))


def _root(folder, scale):
    """Return the results folder of which this is, or whose scale's folder this is."""
    folder = Path(folder)
    return folder.parent if folder.name == scale and (folder / "runs").is_dir() else folder


def show(options):
    """Print one run's record."""
    import yaml

    found = {}
    for file in sorted(Path(options.results).glob("*/runs/*/*/*.json")):
        for run in record.read(file):
            if run.id.startswith(options.run):
                found.setdefault(run.id, (file, run))
    if not found:
        raise InputError(f"run: no record in {options.results} has a run {options.run!r}: see goodinit list --runs")
    if len(found) > 1:
        raise InputError(
            f"run: {options.run!r} is the beginning of {len(found)} ids: {', '.join(sorted(found)[:5])} ..."
        )
    ((file, run),) = found.values()
    last = {
        f"{name} at step {series.steps[-1]}": round(float(series.values[-1]), 6)
        for name, series in run.series.items()
        if series.values.ndim == 1 and len(series.steps)
    }
    words = {key: value for key, value in vars(run).items() if key not in ("series", "parts")}
    words = {"record": str(file)} | words | {"last": last, "series": list(run.series)}
    print(yaml.safe_dump(words, sort_keys=False, allow_unicode=True), end="")


class _Parser(argparse.ArgumentParser):
    def error(self, message):
        sys.exit(_fail(f"{message}: see {self.prog} --help"))


def _parser():
    parser = _Parser(
        prog="goodinit",
        description="Replications of five works on initialization, from data to verdicts.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="command")

    def command(name, function, many=True):
        added = commands.add_parser(name, help=function.__doc__.splitlines()[0], description=function.__doc__)
        added.set_defaults(command=function)
        added.add_argument("--results", default="results", help="the folder of records and tables (default: results)")
        if many:
            added.add_argument("studies", nargs="*", metavar="work[/study]", help="which studies (default: all)")
            added.add_argument("--scale", default="demo", help="demo, laptop or paper (default: demo)")
            added.add_argument("--configs", default="configs", help="the folder of studies (default: configs)")
        return added

    data_root = {"default": None, "help": "the data folder (default: $GOODINIT_DATA, else data)"}
    added = command("list", list_studies)
    added.add_argument("--runs", action="store_true", help="list every job and run with its id")
    added = command("prepare", prepare, many=False)
    added.add_argument("name", help="mnist, cifar10, digits or shapes")
    added.add_argument("--data-root", **data_root)
    added = command("train", train)
    added.add_argument("--job", help="only the job of this name")
    added.add_argument("--data-root", **data_root)
    added.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    added.add_argument("--threads", type=int, default=1, help="CPU threads (default: 1)")
    added = command("estimate", estimate)
    added.add_argument("--rate", type=float, help="TFLOP/s of the device (default: measured on this CPU)")
    command("table", table)
    added = command("figure", figure)
    added.add_argument("--figure", help="only the figure of this name")
    added.add_argument("--figures", default="figures", help="the folder of figures (default: figures)")
    command("claims", claims)
    added = command("report", report)
    added.add_argument("--figures", default="figures", help="the folder of figures (default: figures)")
    added.add_argument("--processes", type=int, help="how many (default: one for each processor)")
    added = command("readme", readme, many=False)
    added.add_argument("--file", default="README.md", help="the page (default: README.md)")
    added.add_argument("--check", action="store_true", help="write nothing; fail where the table is stale")
    added = command("compare", compare, many=False)
    added.add_argument("one", help="a folder of results, such as results or results/laptop")
    added.add_argument("other", help="another")
    added.add_argument("studies", nargs="*", metavar="work[/study]", help="which studies (default: all)")
    added.add_argument("--scale", default="laptop", help="demo, laptop or paper (default: laptop)")
    added.add_argument("--configs", default="configs", help="the folder of studies (default: configs)")
    added = command("show", show, many=False)
    added.add_argument("run", help="the beginning of a run's id")
    return parser


def _studies(options):
    """Load the studies that the command line chooses."""
    if options.scale not in spec.SCALES:
        raise InputError(f"scale: unknown scale {options.scale!r}{nearest(options.scale, spec.SCALES)}")
    if not options.studies:
        return spec.studies(options.configs)
    chosen = []
    for name in options.studies:
        chosen += [spec.find(options.configs, name)] if "/" in name else spec.studies(options.configs, [name])
    return chosen


def _frames(options):
    """Yield each study with its frame; one without records is an error where it, or its work, was chosen.

    A work's study that is not run at the scale is none that was chosen.
    """
    from goodinit.report import tables

    for study in _studies(options):
        try:
            yield study, tables.frame(study, options.scale, options.results)
        except tables.NotRun:
            named = f"{study.work}/{study.name}" in options.studies
            if named or (study.work in options.studies and study.runs(options.scale)):
                raise


def _recorded(item):
    """Say whether a job has a record; raise InputError where it is damaged or stale."""
    _, job, file = item
    if not file.exists():
        return False
    record.read_current(file, {run.id: spec.fill(run.parts) for run in job.runs})
    return True


def _fail(message):
    print(f"goodinit: error: {' '.join(str(message).split())}", file=sys.stderr)
    return 2
