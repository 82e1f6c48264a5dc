"""The command `goodinit`."""

import argparse
import os
import sys

from goodinit import commands
from goodinit.signatures import InputError

__all__ = ["main"]

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

    def command(name, function, many=True, results=True):
        added = subparsers.add_parser(name, help=function.__doc__.splitlines()[0], description=function.__doc__)
        added.set_defaults(command=function)
        if results:
            folder = "the folder of records and tables (default: results)"
            added.add_argument("--results", default="results", help=folder)
        if many:
            added.add_argument("studies", nargs="*", metavar="work[/study]", help="which studies (default: all)")
            added.add_argument("--scale", default="demo", help="demo, laptop or paper (default: demo)")
            added.add_argument("--configs", default="configs", help="the folder of studies (default: configs)")
        return added

    data_root = {"default": None, "help": "the data folder (default: $GOODINIT_DATA, else data)"}
    added = command("list", commands.list_studies)
    added.add_argument("--runs", action="store_true", help="list every job and run with its id")
    added = command("prepare", commands.prepare, many=False, results=False)
    added.add_argument(
        "name", help="mnist, cifar10, cifar100, digits, shapes; imagenette-SIZE, pictures-SIZE, folder-NAME-SIZE"
    )
    added.add_argument("--data-root", **data_root)
    added.add_argument("--processes", type=int, help="that decode pictures (default: one for each processor)")
    share = "the share of pictures that may be unreadable (default: 0.01)"
    added.add_argument("--allowed-bad", type=float, default=0.01, help=share)
    added = command("train", commands.train)
    added.add_argument("--job", help="only the job of this name")
    added.add_argument("--data-root", **data_root)
    added.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    added.add_argument("--threads", type=int, default=1, help="CPU threads (default: 1)")
    added = command("estimate", commands.estimate)
    added.add_argument("--rate", type=float, help="TFLOP/s of the device (default: measured on this CPU)")
    command("table", commands.table)
    added = command("figure", commands.figure)
    added.add_argument("--figure", help="only the figure of this name")
    added.add_argument("--figures", default="figures", help="the folder of figures (default: figures)")
    added = command("claims", commands.claims)
    added.add_argument("--figures", default="figures", help="the folder of figures (default: figures)")
    added = command("report", commands.report)
    added.add_argument("--figures", default="figures", help="the folder of figures (default: figures)")
    added.add_argument("--processes", type=int, help="how many (default: one for each processor)")
    added = command("readme", commands.readme, many=False)
    added.add_argument("--configs", default="configs", help="the folder of studies (default: configs)")
    added.add_argument("--file", default="README.md", help="the page (default: README.md)")
    added.add_argument("--check", action="store_true", help="write nothing; fail where a table is stale")
    added = command("compare", commands.compare, many=False, results=False)
    added.add_argument("one", help="a folder of results, such as results or results/laptop")
    added.add_argument("other", help="another")
    added.add_argument("studies", nargs="*", metavar="work[/study]", help="which studies (default: all)")
    added.add_argument("--scale", default="laptop", help="demo, laptop or paper (default: laptop)")
    added.add_argument("--configs", default="configs", help="the folder of studies (default: configs)")
    added = command("show", commands.show, many=False)
    added.add_argument("run", help="the beginning of a run's id")
    return parser


def _fail(message):
    print(f"goodinit: error: {' '.join(str(message).split())}", file=sys.stderr)
    return 2
