"""Racing for the top 50 of 27,399 genes against walks on all genes, at equal confidence."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np
from cases import paper_case, seconds

from sensx_sc.core.racing import Race, race
from sensx_sc.core.sampling import make_design
from sensx_sc.core.statistics import ranks
from sensx_sc.core.walks import walk

if TYPE_CHECKING:
    from cases import Row


def table(top_k: int = 50, most: int = 100_000) -> list[Row]:
    """Rows of the table."""
    case = paper_case(dtype="float64")  # what precision="auto" chooses for it
    n = len(case.domain.free)
    rows: list[Row] = []
    for rank_by in ("value", "change"):
        raced = case.walker()
        found = []

        def run() -> None:
            wanted = Race(top_k, 0.05, rank_by)
            found.extend(
                race([raced], case.stem, case.domain, make_design("balanced", most), wanted, seed=0)
            )

        took = seconds(run)
        walks = int(raced.tally.n_walks.max())
        whole = case.walker()
        some = min(walks, 200)
        all_genes = seconds(
            lambda: walk([whole], case.stem, case.domain, make_design("balanced", some), seed=0)
        ) * (walks / some)
        full = 80 * n  # on the first look every step of a walk is evaluated once
        later = int(2 * (raced.tally.n_walks - 80).clip(0).sum())
        score = getattr(raced.tally, rank_by)()
        usual = getattr(whole.tally, rank_by)()
        shared = len(
            set(np.flatnonzero(ranks(score) <= top_k)) & set(np.flatnonzero(ranks(usual) <= top_k))
        )
        verdict = found[0]
        rows += [
            (f"{rank_by}: walks until certified (at most {most})", str(walks)),
            (f"{rank_by}: seconds", f"{took:.0f}"),
            (f"{rank_by}: certified", str(verdict.certified)),
            (f"{rank_by}: gap, undecided", f"{verdict.gap:.3f}, {verdict.n_undecided}"),
            (f"{rank_by}: evaluations, all genes / racing", f"{walks * n / (full + later):.0f}"),
            (f"{rank_by}: time, all genes / racing", f"{all_genes / took:.1f}"),
            (f"{rank_by}: top {top_k} shared with {some} walks on all genes", str(shared)),
        ]  # fmt: skip
    return rows


if __name__ == "__main__":
    for name, value in table():
        sys.stdout.write(f"  {name:<48}{value:>14}\n")
