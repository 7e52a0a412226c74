"""The demo and the command line, small."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import sensx_sc as sx
from sensx_sc import cli, demo

if TYPE_CHECKING:
    from pathlib import Path


def test_the_demo_leaves_a_table_figures_and_an_anndata(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "results"
    words = f"demo --out {out} --cells 2 --walks 8 --genes 150 --quiet".split()
    assert cli.main(words) == 0
    shown = capsys.readouterr().out
    assert "B cells" in shown
    assert "median delta*" in shown
    table = pd.read_csv(out / "table.csv")
    assert len(table) == 9
    assert table["held-out F1"].between(0, 1).all()
    assert table["cells"].max() == 2
    explained = ad.read_h5ad(out / "explained.h5ad")
    assert explained.n_obs == table["cells"].sum()
    # Only cells that their own net calls with at least .99.
    assert (explained.obs["sensx_qoi"] >= demo.SURE).all()
    assert (
        explained.obs["sensx_target"].astype(str) == explained.obs["cell_type"].astype(str)
    ).all()
    pictures = sorted(path.name for path in out.glob("*.png"))
    assert pictures == [
        "delta_star.png",
        "envelope.png",
        "heatmap.png",
        "rankings_present.png",
        "rankings_value.png",
    ]


def test_most_variable_genes_keep_their_order(adata: ad.AnnData) -> None:
    some = demo.most_variable(adata, 5)
    variance = adata.X.toarray().var(axis=0)
    assert set(some.var_names) == set(adata.var_names[np.argsort(-variance)[:5]])
    assert list(some.var_names) == [name for name in adata.var_names if name in some.var_names]
    assert demo.most_variable(adata, None) is adata


@pytest.mark.parametrize("words", ["", "demo --walks 0", "demo --genes few", "explode"])
def test_wrong_words(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(words.split())
    assert stopped.value.code == 2
    assert "usage: sensx-sc" in capsys.readouterr().err


def test_the_version_is_known() -> None:
    assert sx.__version__
