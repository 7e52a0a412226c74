"""CellTypist models: scores of its own annotation, its genes, what it expects of expression."""

from __future__ import annotations

import os
import tempfile
import warnings
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

import sensx_sc as sx
from sensx_sc.evaluators.choose import choose_evaluator
from sensx_sc.evaluators.gradient.gradients import Gradients
from sensx_sc.models.celltypist import CellTypistModel, is_celltypist
from sensx_sc.models.qoi import make_response, resolve_target

if TYPE_CHECKING:
    from anndata import AnnData

os.environ.setdefault("CELLTYPIST_FOLDER", tempfile.mkdtemp())  # it makes one when imported
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it asks scanpy for its version in the old way
    celltypist = pytest.importorskip("celltypist")

N_GENES = 300


@pytest.fixture(scope="module")
def cells() -> AnnData:
    """Blood cells on the genes that vary most, log1p of counts scaled to 10,000 a cell."""
    import scanpy as sc

    adata = sx.datasets.pbmc()
    spread = adata.X.toarray().var(axis=0)
    adata = adata[::2, np.argsort(-spread)[:N_GENES]].copy()
    adata.X = adata.layers["counts"].copy()
    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.log1p(adata)
    return adata


@pytest.fixture(scope="module")
def trained(cells: AnnData) -> Any:
    """A model of all cell types, trained by CellTypist on 250 of the genes."""
    few = cells[::2, 40:290]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # few rounds do not converge
        return celltypist.train(
            few.X.toarray(), few.obs["cell_type"].astype(str), few.var_names, use_SGD=True,
            max_iter=20, n_jobs=1, random_state=0, check_expression=False,
        )  # fmt: skip


def of_two(cells: AnnData) -> Any:
    """As in its repository: a scaler, a logistic regression that knows its genes."""
    X = cells.X.toarray()[:, :50]
    scaler = StandardScaler(with_mean=False).fit(X)
    fitted = LogisticRegression().fit(scaler.transform(X), cells.obs["cell_type"] == "NK cells")
    fitted.classes_ = np.array(["other", "NK"])
    fitted.features = np.array(cells.var_names[:50])
    described = dict.fromkeys(("date", "details", "source", "version"), "")
    return celltypist.models.Model(fitted, scaler, described)


def annotated(cells: AnnData, model: Any) -> Any:
    return celltypist.annotate(cells.copy(), model)


def test_outputs_are_those_of_its_own_annotation(cells: AnnData, trained: Any) -> None:
    """All classes, and the predicted one, of cells with more genes than the model's."""
    own = annotated(cells, trained)
    model = sx.models.as_model(trained, columns=cells.var_names)
    response = make_response(model)
    rows = torch.as_tensor(cells.X.toarray(), dtype=torch.float64)
    scores = model.outputs(rows).numpy()
    np.testing.assert_allclose(scores, own.decision_matrix.to_numpy(), rtol=1e-5, atol=1e-5)
    assert (scores != np.round(scores)).any()
    target, names = resolve_target(None, response, scores)
    best = own.predicted_labels["predicted_labels"].astype(str).to_numpy()
    np.testing.assert_array_equal(np.array(names)[target], best)
    np.testing.assert_allclose(
        response(rows, target), own.probability_matrix.to_numpy().max(axis=1), atol=1e-6
    )
    each = own.probability_matrix.to_numpy()
    for k in range(len(names)):
        np.testing.assert_allclose(response(rows, np.full(len(rows), k)), each[:, k], atol=1e-6)


@pytest.mark.parametrize("two", [False, True], ids=["many", "two"])
@pytest.mark.parametrize("qoi", ["probability", "logit"])
def test_explained_as_a_plain_function_around_it(
    cells: AnnData, trained: Any, two: bool, qoi: Any
) -> None:
    fitted = of_two(cells) if two else trained
    genes = list(fitted.features)
    few = cells[:2, genes]

    def plain(rows: np.ndarray) -> np.ndarray:
        scaler = fitted.scaler
        scaled = (rows - (scaler.mean_ if scaler.with_mean else 0)) / scaler.scale_
        scaled[scaled > 10] = 10
        return fitted.predict_labels_and_prob(scaled)[1 if qoi == "probability" else 0]

    how = {"lower": 0, "upper": 9, "n_walks": 20, "n_samples": 50, "tau": 0.01, "names": genes}
    found = sx.core.explain(few.X, fitted, target=1, qoi=qoi, **how)
    expected = sx.core.explain(few.X, plain, target=1, qoi="value", **how)
    assert found.params["evaluator"] == "stem"
    assert expected.params["evaluator"] == "dense"
    assert found.status == expected.status
    np.testing.assert_allclose(found.qoi, expected.qoi, rtol=1e-9)
    np.testing.assert_allclose(found.delta_star, expected.delta_star)
    np.testing.assert_allclose(found.value, expected.value, rtol=1e-6, atol=1e-12)
    assert (found.value > 0).any()


def test_the_stem_is_the_right_one(cells: AnnData, trained: Any) -> None:
    """The module that is taken apart gives CellTypist's scores, expression beyond ten included."""
    made = CellTypistModel(trained)
    rows = torch.as_tensor(np.random.default_rng(0).uniform(0, 60, size=(40, 250)))
    scaled = (rows.numpy() - trained.scaler.mean_) / trained.scaler.scale_
    assert (scaled > 10).mean() > 0.1
    with torch.no_grad():
        found = made.module(torch.float64)(rows)
    torch.testing.assert_close(found, made.outputs(rows), rtol=1e-10, atol=1e-8)
    fast, why = choose_evaluator(make_response(made), np.dtype(np.float64), 64, rows.numpy()[:4])
    assert fast.name == "stem", why


def test_in_one_call_with_what_celltypist_says_of_the_cells(cells: AnnData, trained: Any) -> None:
    few = cells[[0, 100, 200]].copy()
    model = sx.models.as_model(trained, columns=few.var_names)
    sx.tl.sensx(few, model, lower=0, upper=9, n_walks=20, n_samples=100)
    own = annotated(few, trained)
    best = own.predicted_labels["predicted_labels"].astype(str)
    assert few.obs["sensx_target"].astype(str).tolist() == best.tolist()
    np.testing.assert_allclose(
        few.obs["sensx_qoi"], own.probability_matrix.to_numpy().max(axis=1), atol=1e-6
    )
    attributed = few.obs["sensx_status"] != "insensitive"
    values = few.layers["sensx"][attributed.to_numpy()]
    unread = ~few.var_names.isin(trained.features)
    assert unread.sum() == 50
    assert (values[:, unread] == 0).all()
    assert (values[:, ~unread] > 0).any()


def test_every_class_at_once(cells: AnnData, trained: Any) -> None:
    """Which genes drive each of the scores of a cell, the predicted type and all others."""
    few = cells[[0, 100]].copy()
    model = sx.models.as_model(trained, columns=few.var_names)
    how = {"lower": 0, "upper": 9, "n_walks": 20, "n_samples": 100, "qoi": "logit"}
    sx.tl.sensx_targets(few, model, key_added="of", **how)
    own = annotated(few, trained)
    for name in trained.cell_types:
        key = f"of_{name}".replace("/", "-")
        np.testing.assert_allclose(
            few.obs[f"{key}_qoi"], own.decision_matrix[name], rtol=1e-5, atol=1e-5
        )
        assert set(few.obs[f"{key}_target"]) == {name}
    one = trained.cell_types[2]
    sx.tl.sensx(few, model, target=one, key_added="alone", **how)
    np.testing.assert_array_equal(few.layers[f"of_{one}"], few.layers["alone"])
    # A score is affine below the cut, so its values are the model's weights a unit of expression.
    index = few.var_names.get_indexer(trained.features)
    weight = np.abs(trained.classifier.coef_[2]) / trained.scaler.scale_
    found = few.layers["alone"][0, index]
    rank = np.corrcoef(found, weight)[0, 1]
    assert rank > 0.5
    assert (found <= weight * (1 + 1e-5)).all()  # the cut at ten only takes away


def test_genes_are_matched_by_name(cells: AnnData, trained: Any) -> None:
    genes = list(trained.features)
    arguments = {"lower": 0, "upper": 9, "n_walks": 8}
    with pytest.raises(ValueError, match="50 unknown to the model.*columns=adata.var_names"):
        sx.tl.sensx(cells[:1].copy(), trained, **arguments)
    with pytest.raises(ValueError, match="1 missing: .* none is filled in"):
        sx.tl.sensx(cells[:1, genes[1:]].copy(), trained, **arguments)
    with pytest.raises(ValueError, match="another order than the model's"):
        sx.tl.sensx(cells[:1, genes[::-1]].copy(), trained, **arguments)
    with pytest.raises(ValueError, match="1 of the 250 features of CellTypist are not among"):
        sx.models.as_model(trained, columns=genes[1:])


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda x: np.expm1(x), r"got values from 0 to [\d.e+]+\. Make it with sc\.pp\.norm"),
        (lambda x: x - x.mean(axis=0), "got values from -"),
        (lambda x: np.log1p(np.expm1(x) * 2), r"(adds up to|values from 0 to) 1\d+"),
        (lambda x: np.log2(np.expm1(x) + 1), "got "),
    ],
    ids=["counts", "scaled", "another total", "log2"],
)
def test_other_expression_is_refused(cells: AnnData, trained: Any, make: Any, match: str) -> None:
    x = make(cells[:50, list(trained.features)].X.toarray().astype(np.float64))
    with pytest.raises(ValueError, match=match):
        sx.core.explain(x, trained, lower=x.min(), upper=x.max())


def test_a_smaller_total_is_a_warning_where_genes_can_be_told(cells: AnnData, trained: Any) -> None:
    x = np.log1p(np.expm1(cells[:3].X.toarray()) / 4)
    model = sx.models.as_model(trained, columns=cells.var_names)
    with pytest.warns(UserWarning, match="here a cell's 300 genes add up to 2500"):
        model.check_rows(x)
    CellTypistModel(trained).check_rows(x[:, :250])  # genes may have been left out


def test_what_is_wrong_is_said(cells: AnnData, trained: Any) -> None:
    assert is_celltypist(trained)
    assert not is_celltypist(LogisticRegression())
    with pytest.raises(ValueError, match="what the outputs of a CellTypist model are is known"):
        sx.models.as_model(trained, outputs="value")
    with pytest.raises(ValueError, match=r"names 3 genes, but .* have 250, 250, 250"):
        sx.models.as_model(trained, feature_names=["a", "b", "c"])
    odd = SimpleNamespace(
        features=["a"], cell_types=["x", "y"], scaler=trained.scaler, classifier=trained.classifier
    )
    with pytest.raises(ValueError, match="names 1 genes"):
        CellTypistModel(odd)


def test_gradients_are_those_of_a_sigmoid_for_each_class(cells: AnnData, trained: Any) -> None:
    model = sx.models.as_model(trained, columns=cells.var_names)
    x = cells.X[3:6].toarray().astype(np.float64)
    target = np.array([0, 4, 8])
    q, gradient = Gradients(make_response(model), np.dtype(np.float64), 8).at(x, target)
    scores = model.outputs(torch.as_tensor(x)).numpy()[np.arange(3), target]
    np.testing.assert_allclose(q, expit(scores), rtol=1e-12)
    weight = trained.classifier.coef_[target] / trained.scaler.scale_
    own = [cells.var_names.get_loc(gene) for gene in trained.features]
    expected = np.zeros_like(x)
    expected[:, own] = weight * (expit(scores) * expit(-scores))[:, None]
    scaled = (x[:, own] - trained.scaler.mean_) / trained.scaler.scale_
    assert (scaled < 10).all()  # where the cut does not bite
    np.testing.assert_allclose(gradient, expected, rtol=1e-9, atol=1e-300)
