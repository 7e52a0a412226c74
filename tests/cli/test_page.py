"""The page holds what there is, for one class and for many, and no markup of the data's."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from sensx_sc.cli.page import page, parameter_table, status_table

if TYPE_CHECKING:
    import anndata as ad

_fabricated = runpy.run_path(str(Path(__file__).parents[1] / "pl/fabricated.py"))["explained"]


def explained(**how: int) -> ad.AnnData:
    """Made-up results, with what a page says beside the pictures."""
    adata = _fabricated(**how)
    stored = adata.uns["sensx"]
    stored["params"] |= {"model": "net", "n_tested": 59, "n_features": 60, "n_walks": 200}
    failed = adata.obs["sensx_status"].astype(str) == "failed"
    message = np.where(failed, "the model raised ValueError: no", "")
    stored["cells"] = pd.DataFrame({"message": message}, index=adata.obs_names)
    return adata


@pytest.mark.parametrize("n_groups", [1, 3, 50])
def test_one_class_and_fifty(n_groups: int) -> None:
    adata = explained(n_obs=max(60, 4 * n_groups), n_groups=n_groups)
    found = page(adata, "sensx", n_genes=3)
    groups = adata.uns["sensx"]["rankings"]["group"].nunique()
    assert found.count("<h3>") == groups == n_groups
    assert len(re.findall("data:image/png;base64,", found)) >= 3
    failed = (adata.obs["sensx_status"] == "failed").sum()
    assert f"<h2>Failed cells ({failed})" in found


def test_status_table_counts_the_analysed_cells() -> None:
    adata = explained(n_obs=90)
    table = status_table(adata, "sensx")
    analysed = adata.obs["sensx_status"] != "skipped"
    assert table["cells"].sum() == analysed.sum()
    statuses = [name for name in table if name in ("resolved", "insensitive", "left-censored",
                                                   "unsaturated", "failed")]  # fmt: skip
    np.testing.assert_array_equal(table[statuses].sum(axis=1), table["cells"])
    row = table.iloc[0]
    mine = adata.obs["sensx_target"].astype(str) == row["explained output"]
    star = adata.obs["sensx_delta_star"][mine & analysed]
    assert row["delta*, median"] == star[star > 0].median()


def test_names_are_no_markup() -> None:
    adata = explained(n_obs=60)
    stored = adata.uns["sensx"]
    ranked, gene = stored["rankings"], "<script>alert(1)</script>"
    first = str(ranked["names"].iloc[0])
    ranked["names"] = ranked["names"].astype(object).replace(first, gene)
    adata.var_names = [gene if name == first else name for name in adata.var_names]
    stored["params"]["model"] = "<b>net</b>"
    found = page(adata, "sensx")
    assert "<script>" not in found
    assert "<b>net</b>" not in found
    assert "&lt;script&gt;" in found


def test_parameters_are_plain() -> None:
    table = parameter_table(
        {"params": {"a": np.float64(0.5), "b": None, "c": [1, 2], "d": "x"}, "versions": {"q": "1"}}
    )
    told = dict(zip(table["parameter"], table["value"], strict=True))
    assert told == {"a": "0.5", "b": "null", "c": "[1, 2]", "d": "x", "noise_floor": "null",
                    "version of q": "1"}  # fmt: skip
