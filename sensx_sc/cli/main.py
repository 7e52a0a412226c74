"""The words of the command line, and what each command runs."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from sensx_sc.cli.explain import add_explain
from sensx_sc.cli.report import add_report

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status.

    Parameters
    ----------
    arguments
        Words of the command line, by default those of the process.
    """
    parser = argparse.ArgumentParser(
        prog="sensx-sc", description="Which genes drive a model's call on each cell."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    demo = commands.add_parser(
        "demo", help="train classifiers for real blood cells and explain their calls, offline"
    )
    demo.add_argument("--out", default="sensx_demo", help="folder for results (sensx_demo)")
    demo.add_argument("--cells", type=_positive, default=5, help="cells a type (5)")
    demo.add_argument("--walks", type=_positive, default=200, help="walks a cell (200)")
    demo.add_argument(
        "--genes", type=_positive, help="use only this many most variable genes (all)"
    )
    demo.add_argument("--seed", type=int, default=0, help="seed (0)")
    demo.add_argument("--quiet", action="store_true", help="no progress bars")
    add_explain(commands)
    add_report(commands)
    options = parser.parse_args(arguments)
    if options.command == "demo":
        return _demo(options)
    # What is wrong with data, model or arguments is said in a sentence; the rest is a fault.
    try:
        return int(options.run(options))
    except (ValueError, TypeError, KeyError, OSError, ImportError) as error:
        if getattr(options, "traceback", False):
            raise
        message = error.args[0] if isinstance(error, KeyError) else error
        sys.stderr.write(f"sensx-sc: {message}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("sensx-sc: stopped; the same command goes on from here.\n")
        return 130


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        msg = f"must be at least 1, got {number}"
        raise argparse.ArgumentTypeError(msg)
    return number


def _demo(options: argparse.Namespace) -> int:
    import pandas as pd

    from sensx_sc.demo import run_demo

    table = run_demo(
        options.out,
        cells=options.cells,
        n_walks=options.walks,
        n_genes=options.genes,
        seed=options.seed,
        progress=False if options.quiet else None,
    )
    genes = [column for column in table if str(column).startswith("top genes")]
    figures = table.drop(columns=genes).set_index("type")
    with pd.option_context("display.width", 200, "display.max_columns", None):
        shown = figures.astype(object).where(figures.notna(), "-")
        sys.stdout.write(f"\n{shown.to_string()}\n")
    sys.stdout.write(
        "\nmarkers: known markers of the type among the genes; "
        "by ...: how many of them are in the top 20\n"
    )
    for column in genes:
        sys.stdout.write(f"\n{column}\n")
        for name, listed in table.set_index("type")[column].dropna().items():
            sys.stdout.write(f"  {name}: {listed}\n")
    return 0
