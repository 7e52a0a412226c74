"""SCANVI and SCVI: their own predictions, covariates held, the affine stem of their encoder."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import LogisticRegression

import sensx_sc as sx
from sensx_sc.evaluators.choose import choose_evaluator
from sensx_sc.evaluators.dense import DenseEvaluator
from sensx_sc.evaluators.walk_set import WalkSet
from sensx_sc.models.held import HoldsCovariates
from sensx_sc.models.model import Model
from sensx_sc.models.qoi import make_response
from sensx_sc.models.scvi_model import Scvi, is_scvi

if TYPE_CHECKING:
    from pathlib import Path

    from anndata import AnnData

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # those of its own dependencies
    scvi = pytest.importorskip("scvi")

N_GENES = 200
HOW: dict[str, Any] = {"n_walks": 20, "n_samples": 60, "tau": 1e-4}


@pytest.fixture(scope="module")
def cells() -> AnnData:
    """Counts of blood cells, with made-up covariates that say something of them."""
    adata = sx.datasets.pbmc()
    spread = adata.X.toarray().var(axis=0)
    adata = adata[::6, np.argsort(-spread)[:N_GENES]].copy()
    rng = np.random.default_rng(0)
    adata.obs["site"] = pd.Categorical(rng.choice(["x", "y", "z"], adata.n_obs))
    adata.obs["sex"] = rng.choice(["f", "m"], adata.n_obs)
    adata.obs["one"] = "the same"
    adata.obs["age"] = rng.normal(size=adata.n_obs)
    return adata


def trained(cells: AnnData, kind: str, folder: Path, **how: Any) -> Any:
    own = cells.copy()
    model_class = getattr(scvi.model, kind)
    labels = (
        {"labels_key": "cell_type", "unlabeled_category": "unknown"} if kind == "SCANVI" else {}
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scvi.settings.seed = 0
        model_class.setup_anndata(
            own, layer="counts", batch_key="site", categorical_covariate_keys=["sex", "one"],
            continuous_covariate_keys=["age"], **labels,
        )  # fmt: skip
        model = model_class(own, n_hidden=16, n_latent=5, **how)
        model.train(
            max_epochs=4, accelerator="cpu", devices=1, batch_size=64, logger=False,
            enable_progress_bar=False, enable_checkpointing=False, enable_model_summary=False,
            default_root_dir=str(folder),
        )  # fmt: skip
    return model


SETTINGS: dict[str, tuple[str, dict[str, Any]]] = {
    "classes": ("SCANVI", {}),
    "classes and covariates": ("SCANVI", {"encode_covariates": True}),
    "deep": (
        "SCANVI",
        {"encode_covariates": True, "n_layers": 2, "deeply_inject_covariates": True},
    ),
    "deep, covariates once": (
        "SCANVI",
        {"encode_covariates": True, "n_layers": 2, "deeply_inject_covariates": False},
    ),
    "counts as they are": ("SCANVI", {"log_variational": False, "use_layer_norm": "both"}),
    "linear classifier": ("SCANVI", {"linear_classifier": True}),
    "latent": ("SCVI", {"encode_covariates": True}),
}


@pytest.fixture(scope="module", params=SETTINGS)
def model(
    request: pytest.FixtureRequest, cells: AnnData, tmp_path_factory: pytest.TempPathFactory
) -> Any:
    kind, how = SETTINGS[request.param]
    return trained(cells, kind, tmp_path_factory.mktemp("scvi"), **how)


@pytest.fixture(scope="module")
def scanvi(cells: AnnData, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return trained(cells, "SCANVI", tmp_path_factory.mktemp("scvi"), encode_covariates=True)


def own_answers(model: Any, cells: AnnData) -> pd.DataFrame:
    """What the library itself says of cells."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if type(model).__name__ == "SCVI":
            return pd.DataFrame(model.get_latent_representation(cells.copy()))
        return model.predict(cells.copy(), soft=True)


def rows_of(made: Any, cells: AnnData, layer: str = "counts") -> np.ndarray:
    genes = cells.layers[layer].toarray().astype(np.float64)
    return np.concatenate([genes, made.held_values(cells.obs)], axis=1)


def test_outputs_are_its_own_predictions(model: Any, cells: AnnData) -> None:
    made = sx.models.as_model(model)
    assert isinstance(made, Model)
    assert isinstance(made, HoldsCovariates)
    assert is_scvi(model)
    expected = own_answers(model, cells)
    rows = torch.as_tensor(rows_of(made, cells))
    found = made.outputs(rows.float()).numpy()
    if made.kind == "logit":
        response = make_response(made)
        found = np.stack(
            [response(rows.float(), np.full(len(rows), k)) for k in range(found.shape[1])], axis=1
        )
        assert made.output_names == tuple(expected.columns)
    np.testing.assert_allclose(found, expected.to_numpy(), atol=2e-6)
    genes = tuple(cells.var_names)
    assert made.feature_names[:N_GENES] == genes
    encodes = model.module.encode_covariates
    names = ("age", "site=x", "site=y", "site=z", "sex=f", "sex=m")
    assert made.held_names == (names if encodes else ())


def test_a_stem_evaluates_it_and_gives_its_numbers(model: Any, cells: AnnData) -> None:
    made = sx.models.as_model(model)
    rows = rows_of(made, cells)
    response = make_response(made)
    fast, why = choose_evaluator(response, np.dtype(np.float64), 64, rows[:5])
    assert fast.name == "stem", why
    slow = DenseEvaluator(response, np.dtype(np.float64), 64)
    rng = np.random.default_rng(1)
    free = np.arange(N_GENES)
    target, cell = np.array([0, 1]), np.array([0, 0, 1])
    end = rng.uniform(0, 40, size=(3, N_GENES))
    order = np.argsort(rng.random((3, N_GENES)), axis=1)
    walks = WalkSet(rows[:2], target, slow.at(rows[:2], target), cell, free, end, order)
    np.testing.assert_allclose(fast.walks(walks), slow.walks(walks), rtol=1e-9, atol=1e-12)


def test_in_one_call_covariates_are_held(model: Any, cells: AnnData) -> None:
    few = cells[[0, 60, 150]].copy()
    before = few.obs.columns.tolist()
    target = "latent 2" if type(model).__name__ == "SCVI" else None
    sx.tl.sensx(few, model, layer="counts", lower=0, target=target, **HOW)
    expected = own_answers(model, few)
    q = expected[2] if target else expected.max(axis=1)
    np.testing.assert_allclose(few.obs["sensx_qoi"], q, atol=2e-6)
    assert few.layers["sensx"].shape == few.shape
    assert np.isfinite(few.layers["sensx"][:, few.var["sensx_upper"] > 0]).all()
    assert few.uns["sensx"]["params"]["evaluator"] == "stem"
    names = set(few.uns["sensx"]["rankings"]["names"])
    assert names <= set(few.var_names)
    added = [name for name in few.obs.columns if name not in before]
    assert all(name.startswith("sensx_") for name in added)  # nothing of scvi-tools' own


def test_explained_as_a_plain_function_around_it(scanvi: Any, cells: AnnData) -> None:
    """The library's own `classify`, on rows of one cell's covariates."""
    made = sx.models.as_model(scanvi)
    x, mask = rows_of(made, cells[7:8]), np.arange(N_GENES + 6) < N_GENES
    age, site, sex = x[0, N_GENES], x[0, N_GENES + 1 :][:3].argmax(), x[0, -2:].argmax()
    module = scanvi.module.double()

    def plain(rows: np.ndarray) -> np.ndarray:
        n = len(rows)
        with torch.no_grad():
            logits = module.classify(
                torch.as_tensor(rows[:, :N_GENES]), batch_index=torch.full((n, 1), int(site)),
                cont_covs=torch.full((n, 1), age, dtype=torch.float64),
                cat_covs=torch.tensor([[int(sex), 0]]).repeat(n, 1),
            )  # fmt: skip
        return torch.softmax(logits, dim=1).numpy()

    how = {"lower": 0, "upper": 300, "target": 4, **HOW}
    try:
        expected = sx.core.explain(x, plain, mask=mask, **how)
    finally:
        scanvi.module.float()
    found = sx.core.explain(x, scanvi, names=made.feature_names, precision="float64", **how)
    assert found.params["evaluator"] == "stem"
    assert expected.params["evaluator"] == "dense"
    np.testing.assert_allclose(found.delta_star, expected.delta_star)
    np.testing.assert_allclose(found.value, expected.value, rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(found.mean, expected.mean, rtol=1e-6, atol=1e-12)
    assert (expected.value > 0).sum() > 100
    assert np.isnan(found.value[:, N_GENES:]).all()  # held without being asked


def test_covariates_change_what_is_explained(scanvi: Any, cells: AnnData) -> None:
    few = cells[3:5].copy()
    few.layers["counts"] = few.layers["counts"][[0, 0]]
    few.obs[["site", "sex"]] = few.obs[["site", "sex"]].iloc[[0, 0]].to_numpy()
    few.obs["age"] = [0.0, 3.0]
    sx.tl.sensx(few, scanvi, layer="counts", lower=0, upper=300, target=0, **HOW)
    assert few.obs["sensx_qoi"].iloc[0] != few.obs["sensx_qoi"].iloc[1]


@pytest.mark.parametrize("reads", ["log_counts", "log1p_cp10k"])
def test_what_is_explained_may_be_logs(scanvi: Any, cells: AnnData, reads: Any) -> None:
    """The same answers from other rows; the library size of each cell is held."""
    few = cells[:4].copy()
    counts = few.layers["counts"].toarray().astype(np.float64)
    few.obs["total"] = counts.sum(axis=1)
    scale = 1.0 if reads == "log_counts" else 1e4 / few.obs["total"].to_numpy()[:, None]
    few.X = np.log1p(counts * scale)
    library = "total" if reads == "log1p_cp10k" else None
    made = Scvi(scanvi, reads=reads, library=library)
    assert made.held_names[-1] == ("total" if library else "sex=m")
    sx.tl.sensx(few, made, lower=0, upper=9, **HOW)
    np.testing.assert_allclose(
        few.obs["sensx_qoi"], own_answers(scanvi, few).max(axis=1), atol=5e-6
    )
    evaluator = few.uns["sensx"]["params"]["evaluator"]
    assert evaluator == ("stem" if reads == "log_counts" else "dense")


def test_the_latent_space_of_a_classifier(scanvi: Any, cells: AnnData) -> None:
    made = Scvi(scanvi, latent=True)
    assert (made.kind, made.output_names[:2]) == ("value", ("latent 0", "latent 1"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = scanvi.get_latent_representation(cells.copy())
    found = made.outputs(torch.as_tensor(rows_of(made, cells)))
    np.testing.assert_allclose(found, expected, atol=2e-6)
    few = cells[:2].copy()
    centre = expected[(cells.obs["cell_type"] == cells.obs["cell_type"].iloc[0]).to_numpy()].mean(0)
    q = sx.models.Distance(centre)
    sx.tl.sensx(few, made, layer="counts", qoi=q, lower=0, upper=300, **HOW)
    distance = np.linalg.norm(expected[:2] - centre, axis=1)
    np.testing.assert_allclose(few.obs["sensx_qoi"], distance, atol=1e-5)


def test_a_classifier_of_ones_own_on_the_latent_space(scanvi: Any, cells: AnnData) -> None:
    """scvi-tools and scikit-learn as one model: covariates are held, one stem evaluates both."""
    encoder = Scvi(scanvi, latent=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        latent = scanvi.get_latent_representation(cells.copy()).astype(np.float64)
    fitted = LogisticRegression(max_iter=500).fit(latent, cells.obs["cell_type"])
    chain = sx.models.Chain({"latent": encoder, "classes": fitted})
    assert chain.held_names == encoder.held_names
    assert chain.output_names == tuple(fitted.classes_)
    few = cells[[0, 60]].copy()
    sx.tl.sensx(few, chain, layer="counts", lower=0, upper=300, **HOW)
    p = fitted.predict_proba(latent[[0, 60]])
    np.testing.assert_allclose(few.obs["sensx_qoi"], p.max(axis=1), rtol=1e-4)
    assert few.uns["sensx"]["params"]["evaluator"] == "stem"

    x = rows_of(chain, few)[:1]

    def plain(rows: np.ndarray) -> np.ndarray:
        return fitted.predict_proba(encoder.outputs(torch.as_tensor(rows)).numpy())

    mask = np.arange(x.shape[1]) < N_GENES
    how = {"lower": 0, "upper": 300, "target": 0, "mask": mask, **HOW}
    expected = sx.core.explain(x, plain, **how)
    found = sx.core.explain(x, chain, precision="float64", **how)
    assert expected.params["evaluator"] == "dense"
    np.testing.assert_allclose(found.value, expected.value, rtol=1e-6, atol=1e-12)
    assert np.isnan(found.value[:, N_GENES:]).all()


def test_genes_are_matched_by_name(scanvi: Any, cells: AnnData) -> None:
    few = cells[:1].copy()
    with pytest.raises(ValueError, match="another order than the model's"):
        sx.tl.sensx(few[:, ::-1].copy(), scanvi, layer="counts", lower=0, upper=300)
    with pytest.raises(ValueError, match=f"1 missing: {few.var_names[0]}"):
        sx.tl.sensx(few[:, 1:].copy(), scanvi, layer="counts", lower=0, upper=300)
    wide = few[:, ::-1].copy()
    model = sx.models.as_model(scanvi, columns=wide.var_names)
    sx.tl.sensx(wide, model, layer="counts", lower=0, upper=300, target=0, **HOW)
    sx.tl.sensx(few, scanvi, layer="counts", lower=0, upper=300, target=0, **HOW)
    np.testing.assert_allclose(wide.obs["sensx_qoi"], few.obs["sensx_qoi"], atol=1e-6)


def test_covariates_that_are_not_there(scanvi: Any, cells: AnnData) -> None:
    few = cells[:2].copy()
    del few.obs["age"]
    with pytest.raises(KeyError, match="SCANVI reads the covariate 'age', which is not a column"):
        sx.tl.sensx(few, scanvi, layer="counts")
    few = cells[:2].copy()
    few.obs["site"] = "elsewhere"
    with pytest.raises(ValueError, match="holds 'elsewhere', which SCANVI has not seen; it knows"):
        sx.tl.sensx(few, scanvi, layer="counts")
    with pytest.raises(ValueError, match="6 missing: age, sex=f"):
        sx.core.explain(few.layers["counts"], scanvi, lower=0, upper=300, names=few.var_names)


@pytest.mark.parametrize(
    ("arguments", "rows", "match"),
    [
        ({}, np.log1p, "expects counts, as it was trained on; got .*not whole numbers"),
        ({}, lambda x: x - 1, "expects counts, as it was trained on; got values from -1"),
        ({"reads": "log_counts"}, lambda x: x * 10, r"got whole numbers up to .* reads='counts'"),
    ],
)
def test_other_rows_are_refused(
    scanvi: Any, cells: AnnData, arguments: dict[str, Any], rows: Any, match: str
) -> None:
    few = cells[:20].copy()
    few.X = rows(few.layers["counts"].toarray().astype(np.float64))
    with pytest.raises(ValueError, match=match):
        sx.tl.sensx(few, Scvi(scanvi, **arguments))


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"reads": "tpm"}, ValueError, r"`reads` must be one of \('counts', 'log_counts', 'log1p"),
        ({"library": "n"}, ValueError, "`library` names the column .* nothing else; got library="),
        ({"reads": "log1p_cp10k"}, ValueError, "which reads='log1p_cp10k' needs"),
    ],
)
def test_arguments_that_are_refused(
    scanvi: Any, arguments: dict[str, Any], error: type[Exception], match: str
) -> None:
    with pytest.raises(error, match=match):
        Scvi(scanvi, **arguments)


def test_models_that_are_refused(scanvi: Any, cells: AnnData) -> None:
    with pytest.raises(TypeError, match="must be a SCANVI or SCVI of scvi-tools; got LogisticReg"):
        Scvi(LogisticRegression())
    with pytest.raises(ValueError, match="what the outputs of a SCANVI model are is known"):
        sx.models.as_model(scanvi, outputs="value")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        own = cells.copy()
        scvi.model.SCVI.setup_anndata(own, layer="counts", batch_key="site")
        untrained = scvi.model.SCVI(own)
        embedded = scvi.model.SCVI(
            own, batch_representation="embedding", encode_covariates=True, n_hidden=8
        )
        sampled = scvi.model.SCVI(own, latent_distribution="ln", n_hidden=8)
    embedded.is_trained_ = sampled.is_trained_ = True
    with pytest.raises(ValueError, match=r"the SCVI is not trained: call its train\(\) first"):
        sx.models.as_model(untrained)
    with pytest.raises(ValueError, match="a SCVI with batch embeddings in the encoder is"):
        sx.models.as_model(embedded)
    with pytest.raises(ValueError, match="a SCVI with a latent space whose mean is sampled"):
        sx.models.as_model(sampled)


def test_the_model_itself_is_left_as_it_is(scanvi: Any, cells: AnnData) -> None:
    made = sx.models.as_model(scanvi)
    rows = torch.as_tensor(rows_of(made, cells[:3]))
    before = made.outputs(rows)
    weights = {name: value.clone() for name, value in scanvi.module.state_dict().items()}
    scanvi.module.train()
    try:
        torch.testing.assert_close(sx.models.as_model(scanvi).outputs(rows), before)
    finally:
        scanvi.module.eval()
    for name, value in scanvi.module.state_dict().items():
        assert torch.equal(value, weights[name])
        assert value.dtype == weights[name].dtype
