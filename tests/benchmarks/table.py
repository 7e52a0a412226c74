"""All benchmarks in one table, each ratio from one run on this machine.

``python tests/benchmarks/table.py [name ...]`` with names from the list below; all takes some
twenty minutes on two cores that do nothing else. ``--out docs/benchmarks.csv`` also writes the
figures to the file that the page about benchmarks reads; figures of benchmarks that were not run
stay there. Two print tables of their own: ``gradients_against_walks.py`` and ``design_study.py``.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import cost
import logistic
import peers
import racing
import trees_against_dense
import whole_cell
from kept import keep

if TYPE_CHECKING:
    from collections.abc import Callable

    from cases import Row

BENCHMARKS: dict[str, Callable[[], list[Row]]] = {
    "whole_cell": whole_cell.table,
    "whole_cell_float64": lambda: whole_cell.table("float64"),
    "memory": whole_cell.memory,
    "logistic": logistic.table,
    "trees": trees_against_dense.table,
    "racing": racing.table,
    "peers": peers.table,
    "cost": cost.table,
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", help=f"of {', '.join(BENCHMARKS)} (all)")
    parser.add_argument("--out", type=Path, help="CSV to write the figures to as well")
    options = parser.parse_args()
    unknown = set(options.names) - set(BENCHMARKS)
    if unknown:
        sys.exit(f"no benchmark {sorted(unknown)[0]!r}; there are {', '.join(BENCHMARKS)}")
    for name in options.names or BENCHMARKS:
        sys.stdout.write(f"\n{name}\n")
        found = BENCHMARKS[name]()
        for what, value in found:
            sys.stdout.write(f"  {what:<50}{value:>16}\n")
            sys.stdout.flush()
        if options.out is not None:
            keep(options.out, name, found)
