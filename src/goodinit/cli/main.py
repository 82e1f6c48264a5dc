"""The command `goodinit`."""

import argparse
import contextlib
import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

import goodinit
from goodinit import standard_streams
from goodinit.cli.commands import planning, report, studies, training
from goodinit.errors import InputError, is_out_of_memory, one_line

__all__ = ["main"]

LOGGER = logging.getLogger("goodinit")
RESERVED_MEMORY = 8 * 2**20  # bytes, which are released before an error is reported, since that needs memory

EXAMPLES = """\
examples:
  goodinit list --scale laptop                    list the studies, and what is recorded
  goodinit train xavier_he/mnist --scale laptop   train the runs of a study that have no record yet
  goodinit estimate --scale paper --rate 20       estimate the cost of all studies, at 20 TFLOP/s
  goodinit next --hours 8                         list the runs that answer the most claims in a night
  goodinit table xavier_he/mnist --scale laptop   write its table from the records
  goodinit claims --scale laptop                  write the verdicts
  goodinit report --scale all                     write the tables, figures, verdicts and pages of everything
  goodinit compare results/laptop mine/laptop     compare records with those of another machine
  goodinit show c3fe                              show a run, given the beginning of its id
"""

FLAG = {"action": "store_true"}
SHARED: dict[str, dict[str, Any]] = {
    "studies": {"nargs": "*", "metavar": "work[/study]", "help": "the studies (default: all)"},
    "--scale": {"default": "demo", "help": "demo, laptop, overnight or paper (default: demo)"},
    "--configs": {"default": "configs", "help": "the folder of studies (default: configs)"},
    "--results": {"default": "results", "help": "the folder of records and tables (default: results)"},
    "--figures": {"default": "figures", "help": "the folder of figures (default: figures)"},
    "--data-root": {"help": "the data folder (default: $GOODINIT_DATA, else data)"},
}
STUDIES = ("studies", "--scale", "--configs", "--results")
ALL_STUDIES = {"studies": {"nargs": "*", "help": argparse.SUPPRESS}}  # rejected with the reason


class Command(NamedTuple):
    """A subcommand.

    Args:
        function: its docstring is the help.
        shared: the arguments that it takes from `SHARED`.
        arguments: its other arguments, `{name: keyword arguments of add_argument}`.
    """

    function: Callable[[argparse.Namespace], None]
    shared: Sequence[str] = STUDIES
    arguments: Mapping[str, Mapping[str, Any]] = {}


COMMANDS = {
    "list": Command(studies.list_studies, arguments={"--runs": FLAG | {"help": "list all jobs and runs"}}),
    "prepare": Command(
        studies.prepare,
        ["--data-root"],
        {
            "data": {
                "metavar": "name",
                "help": "mnist, cifar10, cifar100, digits, shapes, imagenette-SIZE, pictures-SIZE or folder-NAME-SIZE; "
                "folder-NAME-SIZE is the image folder folders/NAME in the data folder",
            },
            "--processes": {"type": int, "help": "number of processes that decode images (default: all processors)"},
            "--allowed-bad": {
                "type": float,
                "default": 0.01,
                "help": "share of images that may be unreadable (default: 0.01)",
            },
        },
    ),
    "train": Command(
        training.train,
        [*STUDIES, "--data-root"],
        {
            "--job": {"help": "only the job of this name"},
            "--force": FLAG | {"help": "train recorded jobs again; the old record stays until the new one is complete"},
            "--device": {"default": "auto", "help": "auto, cpu, cuda or cuda:N (default: auto)"},
            "--threads": {"type": int, "default": 1, "help": "number of CPU threads (default: 1)"},
            "--checkpoint-minutes": {
                "type": float,
                "default": 5.0,
                "help": "minutes between two checkpoints of a run (default: 5)",
            },
        },
    ),
    "estimate": Command(
        training.estimate,
        arguments={
            "--rate": {"type": float, "help": "TFLOP/s of the device (default: measured on it)"},
            "--timed": FLAG | {"help": "time a few updates of each model instead of assuming a rate"},
            "--device": {
                "default": "cpu",
                "help": "device whose rate is measured, or on which the updates are timed (with one thread on a CPU) "
                "(default: cpu)",
            },
            "--csv": {"metavar": "FILE", "help": "also write operations and memory to this file"},
        },
    ),
    "next": Command(
        planning.next_runs,
        ["studies", "--configs", "--results"],
        {
            "--hours": {"type": float, "help": "only what fits into this many hours (default: everything)"},
            "--rate": {"type": float, "help": "TFLOP/s of the device (default: measured on this CPU)"},
        },
    ),
    "table": Command(report.table),
    "figure": Command(report.figure, [*STUDIES, "--figures"], {"--figure": {"help": "only the figure of this name"}}),
    "claims": Command(report.claims, ["--scale", "--configs", "--results", "--figures"], ALL_STUDIES),
    "report": Command(
        report.report,
        ["studies", "--configs", "--results", "--figures"],
        {
            "--scale": SHARED["--scale"]
            | {
                "help": "demo, laptop, overnight or paper; all: every recorded scale except demo (default: demo)",
            },
            "--processes": {"type": int, "help": "number of processes (default: all processors)"},
        },
    ),
    "readme": Command(
        report.readme,
        ["--results", "--configs"],
        {
            "--file": {"default": "README.md", "help": "the page (default: README.md)"},
            "--reviews": {
                "default": "docs/claims_review",
                "help": "the folder of reviews of claims, whose page is FOLDER.md (default: docs/claims_review)",
            },
            "--findings": {
                "default": "docs/findings",
                "help": "the folder of templates WORK.md.j2 of the pages RESULTS/WORK.md (default: docs/findings)",
            },
            "--check": FLAG | {"help": "write nothing; fail if a page is stale"},
        },
    ),
    "compare": Command(
        report.compare,
        ["--configs"],
        {
            "first": {"help": "a folder of results, such as results or results/laptop"},
            "second": {"help": "another folder of results"},
            "studies": SHARED["studies"],
            "--scale": SHARED["--scale"]
            | {"default": None, "help": "the scale (default: that of the folders, or laptop)"},
        },
    ),
    "export": Command(
        report.export,
        ["--scale", "--configs", "--results", "--figures"],
        {**ALL_STUDIES, "--file": {"help": "the file to write (default: goodinit-<scale>.crate.zip)"}},
    ),
    "show": Command(studies.show, ["--results"], {"run": {"help": "the beginning of the id of a run"}}),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one subcommand; after an error of the user, write one line to standard error and exit with status 2."""
    standard_streams.open_closed()
    reserve: list[bytes] = []
    with standard_streams.tolerant_stderr(), _log_to_stderr():
        try:
            try:
                reserve.append(bytes(RESERVED_MEMORY))  # virtual memory, which is never touched
                options = _parser().parse_args(arguments)
                options.command(options)
            finally:
                standard_streams.flush_stdout()
        except BrokenPipeError:
            sys.exit(1)  # the reader of the output has closed it
        except Exception as error:
            reserve.clear()
            if (message := _error_message(error)) is None:
                raise
        except KeyboardInterrupt:
            LOGGER.error("goodinit: interrupted; unfinished runs are not recorded")
            sys.exit(130)
        else:
            return
        sys.exit(_fail(message))  # here, where the error no longer holds the memory of what failed


class _Parser(argparse.ArgumentParser):
    def _print_message(self, message: str, file: Any = None) -> None:
        print(message, end="", file=file)  # argparse ignores that standard output cannot be written

    def error(self, message: str) -> NoReturn:
        sys.exit(_fail(f"{message}: see {self.prog} --help"))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="goodinit",
        description="Replications of five works on initialization, from data to verdicts.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"goodinit {goodinit.__version__}")
    subparsers = parser.add_subparsers(required=True, metavar="command")
    for name, command in COMMANDS.items():
        text = str(command.function.__doc__)
        subparser = subparsers.add_parser(name, help=text.splitlines()[0], description=text)
        subparser.set_defaults(command=command.function)
        for argument in command.shared:
            subparser.add_argument(argument, **SHARED[argument])
        for argument, settings in command.arguments.items():
            subparser.add_argument(argument, **settings)
    return parser


def _error_message(error: Exception) -> str | None:
    """Return what the user can do about an error, or None if it is a fault of the program."""
    if isinstance(error, InputError):
        return str(error)
    if is_out_of_memory(error):
        return "out of memory: end other processes, or request more memory; finished work is kept"
    if isinstance(error, OSError):
        return f"{error.filename or 'output'}: {error.strerror or error}: check space and permissions"
    return None


def _fail(message: str) -> int:
    """Log an error message; return the exit status."""
    LOGGER.error("goodinit: error: %s", one_line(message))
    return 2


@contextlib.contextmanager
def _log_to_stderr() -> Iterator[None]:
    """Write the messages of the package, of level INFO and above, to standard error inside the block."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    level = LOGGER.level
    LOGGER.addHandler(handler)
    LOGGER.setLevel(logging.INFO)
    try:
        yield
    finally:
        LOGGER.removeHandler(handler)
        LOGGER.setLevel(level)
