"""All benchmarks in one table, each ratio from one run on this machine.

``python tests/benchmarks/table.py [name ...]`` with names from the list below; all takes some
twenty minutes on two cores that do nothing else. Two print tables of their own:
``gradients_against_walks.py`` and ``design_study.py``.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import cost
import logistic
import peers
import racing
import trees_against_dense
import whole_cell

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
    unknown = set(sys.argv[1:]) - set(BENCHMARKS)
    if unknown:
        sys.exit(f"no benchmark {sorted(unknown)[0]!r}; there are {', '.join(BENCHMARKS)}")
    for name in sys.argv[1:] or BENCHMARKS:
        sys.stdout.write(f"\n{name}\n")
        for what, value in BENCHMARKS[name]():
            sys.stdout.write(f"  {what:<50}{value:>16}\n")
            sys.stdout.flush()
