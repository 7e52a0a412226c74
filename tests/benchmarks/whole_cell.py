"""Stem against dense evaluation on the paper's single-cell net: a walk, a calibration, a cell.

``python tests/benchmarks/whole_cell.py`` prints ratios. Dense evaluation is measured on pieces (one
walk; a tenth of the scales on 150 of the samples) and scaled, since a whole cell takes it hours.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING

import numpy as np
import torch
from cases import PAPER_WALKS_A_SECOND, paper_case, seconds
from torch import nn

from sensx_sc.core.sampling import make_design
from sensx_sc.core.walks import walk
from sensx_sc.evaluators.full_precision import full_precision

if TYPE_CHECKING:
    from cases import Case, Row

    from sensx_sc.core.statistics import Tally


def walked(case: Case, n_walks: int, design: str = "balanced") -> Tally:
    """The tally of a cell's walks, by the stem."""
    walker = case.walker()
    walk([walker], case.stem, case.domain, make_design(design, n_walks), seed=0)
    return walker.tally


def table(dtype: str = "float32") -> list[Row]:
    """Rows of the table."""
    case = paper_case(dtype=dtype)
    a_walk = seconds(lambda: walked(case, 400), 3) / 400
    one = case.draw(1)
    dense_walk = seconds(lambda: case.dense.walks(one), 2)
    head = nn.Sequential(*list(case.net)[1:]).to(getattr(torch, dtype))
    states = torch.randn(4096, 250, dtype=getattr(torch, dtype))
    with full_precision():
        only_head = seconds(lambda: head(states), 50) / 4096 * case.n
    sweep = seconds(lambda: case.sweep(case.stem, 50, 1000), 3)
    dense_sweep = seconds(lambda: case.sweep(case.dense, 5, 150), 2) * 10 * 1000 / 150
    uniform, balanced = walked(case, 100, "uniform"), walked(case, 400)
    # Balanced walks for the error of `value` that 600 uniform ones leave, for the median gene.
    variance = [t.value_error() ** 2 * t.n_walks for t in (uniform, balanced)]
    moved = variance[0] > 0
    needed = max(20, 600 * float(np.median(variance[1][moved] / variance[0][moved])))
    cell, dense_cell = sweep + 600 * a_walk, dense_sweep + 600 * dense_walk
    return [
        ("genes expressed, delta*", f"{(case.x > 0).sum()}, {case.delta_star:.3f}"),
        (f"walks a second (the paper's A100: {PAPER_WALKS_A_SECOND})", f"{1 / a_walk:.0f}"),
        ("dense / stem, one walk", f"{dense_walk / a_walk:.0f}"),
        ("stem / head alone, one walk", f"{a_walk / only_head:.2f}"),
        ("dense / stem, calibration (50 x 1000)", f"{dense_sweep / sweep:.0f}"),
        ("dense / stem, cell of 600 walks", f"{dense_cell / cell:.0f}"),
        ("calibration's share of that cell", f"{sweep / cell:.2f}"),
        ("balanced walks for the error of 600 uniform", f"{needed:.0f}"),
        (
            "dense 600 uniform / stem balanced, cell",
            f"{dense_cell / (sweep + needed * a_walk):.0f}",
        ),
    ]


MEASURED = """
import re, sys
import numpy as np, torch
import sensx_sc as sx
from torch import nn
folder = sys.argv[1]
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read()).group(1))
x, upper = np.load(folder + "/x.npy"), np.load(folder + "/upper.npy")
net = nn.Sequential(
    nn.Linear(x.shape[1], 250), nn.ReLU(), nn.Linear(250, 50), nn.ReLU(), nn.Linear(50, 1)
).eval()
net.load_state_dict(torch.load(folder + "/net.pt", weights_only=True))
how = {"lower": 0, "upper": upper, "progress": False}
sx.core.explain(x[:, :9], lambda rows: rows.sum(axis=1), lower=0, upper=upper[:9], progress=False)
before = peak()
sx.core.explain(x, net, n_walks=600, **how)
print(peak() - before)
"""


def memory() -> list[Row]:
    """Peak memory of a whole cell beyond what was there with the model loaded (Linux)."""
    case = paper_case()
    with tempfile.TemporaryDirectory() as folder:
        np.save(f"{folder}/x.npy", case.x)
        np.save(f"{folder}/upper.npy", case.domain.upper)
        torch.save(case.net.state_dict(), f"{folder}/net.pt")
        command = [sys.executable, "-c", MEASURED, folder]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [("peak memory of that cell above the model, MiB", f"{int(said) / 1024:.0f}")]


if __name__ == "__main__":
    for name, value in [*table("float32"), *table("float64"), *memory()]:
        sys.stdout.write(f"  {name:<48}{value:>14}\n")
