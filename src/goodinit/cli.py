"""The command `goodinit`."""

import argparse
import errno
import io
import os
import sys

from goodinit import commands
from goodinit.errors import InputError, one_line

__all__ = ["main"]

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
    "--scale": {"default": "demo", "help": "demo, laptop or paper (default: demo)"},
    "--configs": {"default": "configs", "help": "the folder of studies (default: configs)"},
    "--results": {"default": "results", "help": "the folder of records and tables (default: results)"},
    "--figures": {"default": "figures", "help": "the folder of figures (default: figures)"},
    "--data-root": {"help": "the data folder (default: $GOODINIT_DATA, else data)"},
}
STUDIES = ("studies", "--scale", "--configs", "--results")


def main(arguments=None):
    """Run one subcommand; a user's mistake ends with one line on standard error and exit status 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # where the locale has not all letters
    options = _parser().parse_args(arguments)
    try:
        options.command(options)
    except InputError as error:
        sys.exit(_fail(error))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (MemoryError, ImportError, SystemError) as error:
        if not isinstance(error, MemoryError) and not any(words in str(error) for words in OUT_OF_MEMORY):
            raise
        sys.exit(_fail(NO_MEMORY))
    except OSError as error:
        if error.errno == errno.ENOMEM:
            sys.exit(_fail(NO_MEMORY))
        sys.exit(_fail(f"{error.filename or 'output'}: {error.strerror or error}: check space and permissions"))
    except KeyboardInterrupt:
        print("goodinit: interrupted; what was not finished is not recorded", file=sys.stderr)
        sys.exit(130)


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
        csv={"metavar": "FILE", "help": "also write operations and memory to this file"},
    )
    command(commands.table)
    command(commands.figure, shared=[*STUDIES, "--figures"], figure={"help": "only the figure of this name"})
    command(commands.claims, shared=[*STUDIES, "--figures"])
    command(
        commands.report,
        shared=["studies", "--configs", "--results", "--figures"],
        scale=SHARED["--scale"] | {"help": "demo, laptop, paper, or all that are recorded but demo (default: demo)"},
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
        scale=SHARED["--scale"] | {"default": "laptop", "help": "demo, laptop or paper (default: laptop)"},
    )
    command(
        commands.export,
        shared=["--scale", "--configs", "--results", "--figures"],
        file={"help": "to be written (default: goodinit-<scale>.crate.zip)"},
    )
    command(commands.show, shared=["--results"], run={"positional": True, "help": "the beginning of a run's id"})
    return parser


def _fail(message):
    print(f"goodinit: error: {one_line(message)}", file=sys.stderr)
    return 2
