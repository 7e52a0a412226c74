"""Models that read something of a cell beside its genes: it is held, and no part of the results."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import sensx_sc as sx
from sensx_sc.models.held import HoldsCovariates, one_hot

if TYPE_CHECKING:
    from pathlib import Path

    from anndata import AnnData

GENES = tuple(f"gene_{j}" for j in range(20))
HOW: dict[str, Any] = {
    "n_walks": 20, "n_samples": 60, "tau": 1e-3, "lower": 0, "upper": 10, "precision": "float64",
    "statistics": ("value", "rank", "change", "mean"),
}  # fmt: skip


class Sites(nn.Module):
    """Three classes; each site shifts the hidden layer."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.first, self.last = nn.Linear(22, 6), nn.Linear(6, 3)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.last(torch.tanh(self.first(rows) * 0.3))


class AtSites:
    """The net as a model that asks for the cell's site."""

    name, kind, output_names, input_range = "net at sites", "logit", ("A", "B", "C"), None
    dtypes = (torch.float64,)
    held_names = ("site=n", "site=s")
    feature_names = (*GENES, *held_names)

    def __init__(self) -> None:
        self.source = Sites().double().eval()

    def device(self, dtype: torch.dtype) -> torch.device:
        return torch.device("cpu")

    def outputs(self, rows: torch.Tensor) -> torch.Tensor:
        return self.source(rows)

    def module(self, dtype: torch.dtype) -> nn.Module:
        return self.source

    def held_values(self, obs: pd.DataFrame) -> np.ndarray:
        return one_hot("site", ["n", "s"]).columns(obs, self.name)


@pytest.fixture
def adata(adata: AnnData) -> AnnData:
    adata.obs["site"] = np.where(np.arange(adata.n_obs) % 3 == 0, "n", "s")
    adata.obs["some"] = np.isin(np.arange(adata.n_obs), [3, 10, 40, 41])
    return adata


def same(found: AnnData, expected: AnnData) -> None:
    for layer in ("sensx", "sensx_rank", "sensx_change", "sensx_mean"):
        np.testing.assert_allclose(
            np.asarray(found.layers[layer]), expected.layers[layer], rtol=1e-6
        )
    for column in ("sensx_delta_star", "sensx_qoi"):
        np.testing.assert_allclose(found.obs[column], expected.obs[column])


def test_each_cell_has_its_own(adata: AnnData) -> None:
    model = AtSites()
    assert isinstance(model, HoldsCovariates)
    sx.tl.sensx(adata, model, mask_obs="some", **HOW)
    x = np.concatenate([adata.X.toarray(), model.held_values(adata.obs)], axis=1)
    cells = np.flatnonzero(adata.obs["some"])
    expected = sx.core.explain(
        x[cells], model.source, lower=0, upper=10, mask=np.arange(22) < 20, n_walks=20,
        n_samples=60, tau=1e-3, precision="float64", keys=adata.obs_names[cells],
    )  # fmt: skip
    np.testing.assert_allclose(adata.layers["sensx"][cells], expected.value[:, :20], rtol=1e-6)
    np.testing.assert_array_equal(adata.layers["sensx_rank"][cells], expected.rank[:, :20])
    assert adata.layers["sensx"].shape == adata.shape
    assert len(adata.var["sensx_lower"]) == adata.n_vars
    assert set(adata.uns["sensx"]["rankings"]["names"]) == set(GENES)
    assert adata.uns["sensx"]["params"]["evaluator"] == "stem"
    # The same cell at the other site is answered otherwise.
    other = adata.copy()
    other.obs["site"] = np.where(adata.obs["site"] == "n", "s", "n")
    sx.tl.sensx(other, model, mask_obs="some", **HOW)
    assert (other.obs["sensx_qoi"].iloc[cells] != adata.obs["sensx_qoi"].iloc[cells]).all()


@pytest.mark.parametrize("kind", ["dense", "dask", "chunks", "backed"])
def test_however_the_cells_are_kept(adata: AnnData, kind: str, tmp_path: Path) -> None:
    import anndata as ad

    expected = sx.tl.sensx(adata, AtSites(), mask_obs="some", copy=True, **HOW)
    more: dict[str, Any] = {}
    found = adata.copy()
    if kind == "dense":
        found.X = adata.X.toarray()
    elif kind == "dask":
        found.X = da.from_array(adata.X.toarray(), chunks=(7, 20))
    elif kind == "chunks":
        more["chunk_size"] = 1
    else:
        found.write_h5ad(tmp_path / "a.h5ad")
        found = ad.read_h5ad(tmp_path / "a.h5ad", backed="r")
    sx.tl.sensx(found, AtSites(), mask_obs="some", **HOW, **more)
    same(found, expected)


def test_a_store_holds_genes_and_goes_on(adata: AnnData, tmp_path: Path) -> None:
    expected = sx.tl.sensx(adata, AtSites(), mask_obs="some", copy=True, **HOW)
    for _ in range(2):
        sx.tl.sensx(
            adata, AtSites(), mask_obs="some", store=tmp_path / "run.zarr", chunk_size=8, **HOW
        )
        same(adata, expected)
    changed = adata.copy()
    changed.obs.loc[changed.obs_names[3], "site"] = "s"
    with pytest.raises(ValueError, match="other cells|other|changed|differ"):
        sx.tl.sensx(
            changed, AtSites(), mask_obs="some", store=tmp_path / "run.zarr", chunk_size=8, **HOW
        )


def test_racing_masks_and_gradients(adata: AnnData) -> None:
    adata.var["tested"] = np.arange(20) % 2 == 0
    sx.tl.sensx(adata, AtSites(), mask_obs="some", mask_var="tested", top_k=3, **HOW)
    values = adata.layers["sensx"][adata.obs["some"]]
    assert np.isnan(values[:, 1::2]).all()
    assert np.isfinite(values[:, ::2]).all()
    sx.tl.sensx(adata, AtSites(), mask_obs="some", estimator="gradient", **HOW)
    assert adata.uns["sensx"]["cells"]["audit_passed"].all()


def test_groups_of_genes(adata: AnnData) -> None:
    sets = {"first": list(GENES[:5]), "second": list(GENES[8:12])}
    sx.tl.sensx(adata, AtSites(), mask_obs="some", groups=sets, **HOW)
    assert adata.obsm["sensx_groups"].shape == (adata.n_obs, 2)
    assert adata.obsm["sensx_groups"].columns.tolist() == list(sets)
    assert np.isfinite(adata.obsm["sensx_groups"][adata.obs["some"]].to_numpy()).all()
    assert (
        adata.var["sensx_group"].notna() == np.isin(GENES, [*sets["first"], *sets["second"]])
    ).all()
    by_label = adata.copy()
    by_label.var["set"] = [None if pd.isna(g) else str(g) for g in adata.var["sensx_group"]]
    sx.tl.sensx(by_label, AtSites(), mask_obs="some", groups="set", **HOW)
    np.testing.assert_allclose(by_label.obsm["sensx_groups"], adata.obsm["sensx_groups"])


def test_covariates_that_the_model_reads_can_walk(adata: AnnData) -> None:
    sx.tl.sensx(adata, AtSites(), mask_obs="some", covariates="site", **HOW)
    found = adata.obsm["sensx_covariates"]
    some = adata.obs["some"].to_numpy()
    assert found.columns.tolist() == ["site"]
    assert np.isfinite(found[some].to_numpy()).all()
    assert np.isnan(found[~some].to_numpy()).all()
    hot = (adata.obs["site"].to_numpy()[:, None] == np.array(["n", "s"])).astype(float)
    rows = np.hstack([adata.X.toarray(), hot])[some]
    expected = sx.core.explain(
        rows, lambda z: AtSites().outputs(torch.as_tensor(z)).softmax(dim=1).detach().numpy(),
        lower=0, upper=[10] * 20 + [1, 1], blocks={"site": [20, 21]}, n_walks=20, n_samples=60,
        tau=1e-3, target=[list("ABC").index(t) for t in adata.obs["sensx_target"][some]],
        keys=list(adata.obs_names[some]), precision="float64",
    )  # fmt: skip
    np.testing.assert_allclose(found[some].to_numpy()[:, 0], expected.value[:, 20], rtol=1e-5)
    np.testing.assert_allclose(adata.layers["sensx"][some], expected.value[:, :20], rtol=1e-5)
    with pytest.raises(KeyError, match="'batch' is none that the model reads; it reads 'site'"):
        sx.tl.sensx(adata, AtSites(), mask_obs="some", covariates="batch", **HOW)


def test_what_is_not_in_the_table(adata: AnnData) -> None:
    before = adata.copy()
    adata.obs["site"] = "west"
    with pytest.raises(ValueError, match="holds 'west', which net at sites has not seen"):
        sx.tl.sensx(adata, AtSites(), mask_obs="some", **HOW)
    del adata.obs["site"]
    with pytest.raises(KeyError, match="net at sites reads the covariate 'site'"):
        sx.tl.sensx(adata, AtSites(), mask_obs="some", **HOW)
    assert set(adata.layers) == set(before.layers)


SCRIPT = """
import json, resource, sys, warnings
warnings.simplefilter("ignore")
import anndata as ad, numpy as np, pandas as pd
from scipy import sparse
import scvi
import sensx_sc as sx

n, m = 400, 10_000
rng = np.random.default_rng(0)
counts = sparse.random(n, m, density=0.1, format="csr", random_state=0, dtype=np.float32)
counts.data = np.ceil(counts.data * 5)
obs = pd.DataFrame({
    "site": rng.choice(list("abc"), n), "donor": rng.choice(list("uvwx"), n),
    "age": rng.normal(size=n), "label": rng.choice(["B", "T", "unknown"], n),
}, index=[str(i) for i in range(n)])
adata = ad.AnnData(counts, obs=obs)
reference, query = adata[:200].copy(), adata[200:].copy()
query.obs["site"] = "new"
scvi.model.SCANVI.setup_anndata(
    reference, labels_key="label", unlabeled_category="unknown", batch_key="site",
    categorical_covariate_keys=["donor"], continuous_covariate_keys=["age"],
)
model = scvi.model.SCANVI(reference, encode_covariates=True, n_layers=2)
model.is_trained_ = True  # weights as they were drawn: it is memory that is looked at
model = scvi.model.SCANVI.load_query_data(query, model)
model.is_trained_ = True
query.obs["some"] = np.arange(query.n_obs) % 50 == 0
unit = 1 if sys.platform == "darwin" else 1024
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
before = peak()
sx.settings.memory_budget = 2**30
sx.tl.sensx(
    query, model, mask_obs="some", lower=0, n_walks=20, n_samples=100, deltas=[0.01, 0.1, 1.0],
    tau=1e-7, progress=False,
)
own = model.predict(query[query.obs["some"]].copy(), soft=True).max(axis=1)
print(json.dumps({
    "grown": peak() - before,
    "evaluator": query.uns["sensx"]["params"]["evaluator"],
    "finite": int(np.isfinite(query.layers["sensx"][query.obs["some"]]).sum()),
    "off": float(np.abs(query.obs["sensx_qoi"][query.obs["some"]] - own).max()),
}))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="peak memory is read the Unix way")
def test_covariates_and_ten_thousand_genes_in_bounded_memory() -> None:
    """A query mapped onto a reference, as in scvi-tools#3383."""
    pytest.importorskip("scvi")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True, timeout=600
    )
    seen = json.loads(done.stdout.splitlines()[-1])
    assert seen["evaluator"] == "stem"
    assert seen["finite"] >= 4 * 9_000
    assert seen["off"] < 1e-5
    assert seen["grown"] < 2**30
