"""``sensx-sc report``: the results of a store as one page with its figures inside."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sensx_sc.logger import logger

if TYPE_CHECKING:
    import argparse


def add_report(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command's words."""
    parser = commands.add_parser("report", help="write the results of a store as one HTML page")
    parser.add_argument("store", type=Path, help="store of results: out.zarr")
    parser.add_argument("--out", type=Path, help="the page (out.html beside the store)")
    parser.add_argument("--key", default="sensx", help="prefix of the results (sensx)")
    parser.add_argument("--genes", type=int, default=15, help="genes a class (15)")
    parser.add_argument("--traceback", action="store_true", help="show where an error came from")
    parser.set_defaults(run=report)


def report(options: argparse.Namespace) -> int:
    """Write the page."""
    import matplotlib as mpl

    mpl.use("Agg")
    from sensx_sc.cli.page import page
    from sensx_sc.cli.results import open_results

    adata = open_results(options.store, options.key)
    out = options.out or options.store.with_suffix(".html")
    out.write_text(page(adata, options.key, n_genes=options.genes), encoding="utf-8")
    logger.info("report: wrote %s.", out)
    return 0
