"""The command `goodinit`."""

import argparse
import contextlib
import errno
import logging
import sys
from collections.abc import Iterator

from goodinit import standard_streams
from goodinit.cli import commands
from goodinit.errors import InputError, one_line

__all__ = ["main"]

LOGGER = logging.getLogger("goodinit")
OUT_OF_MEMORY = ("failed to map segment", "without exception set", "without setting an exception")  # as Python has it
NO_MEMORY = "memory ran out: end other processes, or ask for more; what was done is kept"

EXAMPLES = """\
examples:
  goodinit list --scale laptop                    what there is, and what has been run
  goodinit train xavier_he/mnist --scale laptop   train a study's runs that have no record yet
  goodinit estimate --scale paper --rate 20       what that would cost, at 20 TFLOP/s
  goodinit table xavier_he/mnist --scale laptop   its table, from the records
  goodinit claims --scale laptop                  the verdicts
  goodinit report --scale all                     tables, figures, verdicts and pages, of everything
  goodinit compare results/laptop mine/laptop     did another machine reproduce them?
  goodinit show c3fe                              a run, by the beginning of its id
"""
FLAG = {"action": "store_true"}
SHARED = {
    "studies": {"nargs": "*", "metavar": "work[/study]", "help": "which studies (default: all)"},
    "--scale": {"default": "demo", "help": "demo, laptop, overnight or paper (default: demo)"},
    "--configs": {"default": "configs", "help": "the folder of studies (default: configs)"},
    "--results": {"default": "results", "help": "the folder of records and tables (default: results)"},
    "--figures": {"default": "figures", "help": "the folder of figures (default: figures)"},
    "--data-root": {"help": "the data folder (default: $GOODINIT_DATA, else data)"},
}
STUDIES = ("studies", "--scale", "--configs", "--results")


def main(arguments=None):
    """Run one subcommand; a user's mistake ends with one line on standard error and exit status 2."""
    standard_streams.open_closed()
    with standard_streams.tolerant_stderr(), _log_to_stderr():
        try:
            try:
                options = _parser().parse_args(arguments)
                options.command(options)
            finally:
                standard_streams.flush_stdout()
        except BrokenPipeError:
            sys.exit(1)  # whoever read the output has seen enough
        except Exception as error:
            if (message := _message(error)) is None:
                raise
            sys.exit(_fail(message))
        except KeyboardInterrupt:
            LOGGER.error("goodinit: interrupted; unfinished runs are not recorded")
            sys.exit(130)


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


def _message(error):
    """Return what to tell the user of an error, or None: it is ours."""
    if isinstance(error, InputError):
        return error
    no_memory = isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM
    broken = isinstance(error, ImportError | SystemError) and any(words in str(error) for words in OUT_OF_MEMORY)
    if no_memory or broken:
        return NO_MEMORY
    if isinstance(error, OSError):
        return f"{error.filename or 'output'}: {error.strerror or error}: check space and permissions"
    return None


class _Parser(argparse.ArgumentParser):
    def print_help(self, file=None):
        print(self.format_help(), end="", file=file)  # argparse's own is silent where that fails

    def error(self, message):
        sys.exit(_fail(f"{message}: see {self.prog} --help"))


def _parser():
    parser = _Parser(
        prog="goodinit",
        description="Replications of five works on initialization, from data to verdicts.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    subparsers = parser.add_subparsers(required=True, metavar="command")

    def command(function, name=None, shared=STUDIES, **own):
        """Add a subcommand with some of the shared options, and its own: argument=what argparse needs to know."""
        name = name or function.__name__
        added = subparsers.add_parser(name, help=function.__doc__.splitlines()[0], description=function.__doc__)
        added.set_defaults(command=function)
        for option, known in {one: SHARED[one] for one in shared}.items():
            added.add_argument(option, **known)
        for option, known in own.items():
            added.add_argument(option if known.pop("positional", False) else f"--{option.replace('_', '-')}", **known)

    number = {"type": float}
    command(commands.list_studies, "list", runs=FLAG | {"help": "list every job and run with its id"})
    command(
        commands.prepare,
        shared=["--data-root"],
        data={
            "positional": True,
            "metavar": "name",
            "help": "mnist, cifar10, cifar100, digits, shapes; imagenette-SIZE, pictures-SIZE, folder-NAME-SIZE",
        },
        processes={"type": int, "help": "that decode pictures (default: one for each processor)"},
        allowed_bad=number | {"default": 0.01, "help": "the share of pictures that may be unreadable (default: 0.01)"},
    )
    command(
        commands.train,
        shared=[*STUDIES, "--data-root"],
        job={"help": "only the job of this name"},
        force=FLAG | {"help": "train also what is recorded; the old record stays until the new one is whole"},
        device={"default": "auto", "help": "auto, cpu, cuda or cuda:N (default: auto)"},
        threads={"type": int, "default": 1, "help": "CPU threads (default: 1)"},
        checkpoint_minutes=number
        | {"default": 5.0, "help": "from one checkpoint of a long run to the next (default: 5)"},
    )
    command(
        commands.estimate,
        rate=number | {"help": "TFLOP/s of the device (default: measured on this CPU)"},
        timed=FLAG | {"help": "time a few updates of each model instead of counting on a rate"},
        device={"default": "cpu", "help": "where they are timed; on a CPU with one thread (default: cpu)"},
        csv={"metavar": "FILE", "help": "also write operations and memory to this file"},
    )
    command(commands.table)
    command(commands.figure, shared=[*STUDIES, "--figures"], figure={"help": "only the figure of this name"})
    command(commands.claims, shared=[*STUDIES, "--figures"])
    command(
        commands.report,
        shared=["studies", "--configs", "--results", "--figures"],
        scale=SHARED["--scale"]
        | {"help": "demo, laptop, overnight, paper, or all that are recorded but demo (default: demo)"},
        no_verdicts=FLAG | {"help": "only the tables and figures of the studies"},
        processes={"type": int, "help": "how many (default: one for each processor)"},
    )
    command(
        commands.readme,
        shared=["--results", "--configs"],
        file={"default": "README.md", "help": "the page (default: README.md)"},
        check=FLAG | {"help": "write nothing; fail where it is stale"},
    )
    command(
        commands.compare,
        shared=["--configs"],
        one={"positional": True, "help": "a folder of results, such as results or results/laptop"},
        other={"positional": True, "help": "another"},
        studies=SHARED["studies"] | {"positional": True},
        scale=SHARED["--scale"] | {"default": "laptop", "help": "demo, laptop, overnight or paper (default: laptop)"},
    )
    command(
        commands.export,
        shared=["--scale", "--configs", "--results", "--figures"],
        file={"help": "to be written (default: goodinit-<scale>.crate.zip)"},
    )
    command(commands.show, shared=["--results"], run={"positional": True, "help": "the beginning of a run's id"})
    return parser


def _fail(message):
    LOGGER.error("goodinit: error: %s", one_line(message))
    return 2
