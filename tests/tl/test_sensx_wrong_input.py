"""Wrong input to ``tl.sensx``: each mistake has its sentence, and the AnnData stays as it was."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import sensx_sc as sx

if TYPE_CHECKING:
    from collections.abc import Callable

    from anndata import AnnData

SMALL: dict[str, Any] = {"n_walks": 8, "n_samples": 50, "deltas": [0.3, 1.0]}


def linear(rows: np.ndarray) -> np.ndarray:
    return rows.sum(axis=1)


def with_value(value: float) -> Callable[[AnnData], None]:
    def change(adata: AnnData) -> None:
        X = adata.X.toarray()
        X[2, 3] = value
        adata.X = X

    return change


def with_twins(adata: AnnData) -> None:
    adata.obs_names = ["twin", "twin", *adata.obs_names[2:]]


def with_texts(adata: AnnData) -> None:
    adata.layers["text"] = np.full(adata.shape, "a", dtype=object)


def random_model(rows: np.ndarray) -> np.ndarray:
    return rows.sum(axis=1) + np.random.default_rng().normal(size=len(rows))


def batch_model(rows: np.ndarray) -> np.ndarray:
    return rows.sum(axis=1) - rows.sum(axis=1).mean()


def named(names: list[str], outputs: str = "A") -> Any:
    net = nn.Linear(20, len(outputs)).eval()
    return sx.models.as_model(net, feature_names=names, output_names=list(outputs))


GENES = [f"gene_{j}" for j in range(20)]
DROPOUT = nn.Sequential(nn.Linear(20, 4), nn.Dropout(0.5), nn.Linear(4, 1))

CASES: dict[str, tuple[Any, dict[str, Any], type[Exception], str]] = {
    "NaN in X": (linear, {"change": with_value(np.nan)}, ValueError, "NaN or infinite.*row 2, column 3"),
    "inf in X": (linear, {"change": with_value(np.inf)}, ValueError, "NaN or infinite.*row 2, column 3"),
    "other case": (named([name.upper() for name in GENES]), {}, ValueError, "upper and lower case only"),
    "a missing gene": (named([*GENES[:-1], "other"]), {}, ValueError, "1 missing: other.*gene_19"),
    "reordered genes": (named(GENES[::-1]), {}, ValueError, "another order.*position 0"),
    "too few genes": (named(GENES[:-1]), {}, ValueError, "unknown to the model: gene_19"),
    "x outside": (linear, {"upper": 0.5}, ValueError, "outside the domain: gene_.*allowed"),
    "raw counts": (linear, {"layer": "counts", "upper": 9.3}, ValueError, "raw counts"),
    "lower above upper": (linear, {"lower": 9.0, "upper": 1.0}, ValueError, "must not exceed"),
    "bounds of NaN": (linear, {"lower": np.nan, "upper": 1.0}, ValueError, "must be finite"),
    "bounds too few": (linear, {"lower": [0.0, 1.0]}, ValueError, r"shape \(20,\).*\(2,\)"),
    "bounds of text": (linear, {"lower": "low"}, KeyError, "neither 'log1p_cp10k' nor a column"),
    "constant genes": (linear, {"lower": 1.0, "upper": 1.0}, ValueError, "no feature is left"),
    "no cells": (linear, {"mask_obs": np.zeros(60, bool)}, ValueError, "`mask_obs` selects nothing"),
    "no genes": (linear, {"mask_var": np.zeros(20, bool)}, ValueError, "`mask_var` selects nothing"),
    "mask of numbers": (linear, {"mask_obs": [1, 2]}, ValueError, r"bool array of length 60.*np\.isin"),
    "mask of names": (linear, {"mask_obs": ["cell_1"]}, ValueError, r"adata\.obs_names\.isin"),
    "mask of genes": (linear, {"mask_var": ["gene_1"]}, ValueError, r"adata\.var_names\.isin"),
    "mask of classes": (linear, {"mask_obs": "cell_type"}, ValueError, r"adata\.obs\['cell_type'\] == "),
    "mask unknown": (linear, {"mask_obs": "nothing"}, KeyError, "not a column.*'cell_type'"),
    "unknown target": (nn.Linear(20, 3).eval(), {"target": "T cell"}, KeyError, "'T cell' is not an output.*'0', '1', '2'"),
    "targets": (named(GENES, "AB"), {"target": ["A", "B"]}, ValueError, r"sx\.tl\.sensx_targets"),
    "target index": (nn.Linear(20, 3).eval(), {"target": 3}, KeyError, "3 is not an output"),
    "no target": (lambda rows: rows[:, :2], {}, ValueError, "must name one of the 2 outputs"),
    "train mode": (DROPOUT, {}, ValueError, r"model.eval\(\)"),
    "random model": (random_model, {}, ValueError, "not deterministic"),
    "batch model": (batch_model, {}, ValueError, "depends on the other rows"),
    "output shape": (lambda rows: rows.sum(), {}, ValueError, r"shape \(B,\) or \(B, K\)"),
    "output NaN": (lambda rows: rows.sum(axis=1) * np.nan, {}, ValueError, "only NaN or infinite"),
    "no model": (3, {}, TypeError, "torch.nn.Module"),
    "text": (linear, {"change": with_texts, "layer": "text"}, TypeError, "must be numeric"),
    "twins": (linear, {"change": with_twins}, ValueError, "obs_names_make_unique"),
    "unknown layer": (linear, {"layer": "raw"}, KeyError, "there are: 'counts'"),
    "layer and obsm": (linear, {"layer": "counts", "obsm": "X_pca"}, ValueError, "not both"),
    "unknown statistic": (linear, {"statistics": ("values",)}, ValueError, "got 'values'"),
    "key": (linear, {"key_added": "a/b"}, ValueError, "without '/'"),
    "tau": (linear, {"tau": 0.0}, ValueError, "`tau` must be a positive number"),
    "walks": (linear, {"n_walks": 0}, ValueError, "`n_walks`"),
    "samples": (linear, {"n_samples": 1}, ValueError, "`n_samples`"),
    "deltas": (linear, {"deltas": [0.5, 0.2]}, ValueError, "increase strictly"),
    "deltas beyond 1": (linear, {"deltas": [0.5, 2.0]}, ValueError, "lie in"),
    "design": (linear, {"design": "halton"}, ValueError, "`design` must be one of"),
    "qoi": (linear, {"qoi": "probability"}, ValueError, "plain values"),
    "qoi shape": (linear, {"qoi": lambda outputs: outputs}, ValueError, "one number a row"),
    "rank_by": (linear, {"rank_by": "se"}, ValueError, "`rank_by`"),
    "precision": (linear, {"precision": "float16"}, ValueError, "`precision`"),
    "seed": (linear, {"seed": -1}, ValueError, "`seed`"),
    "batch_size": (linear, {"batch_size": 0}, ValueError, "`batch_size`"),
    "chunk_size": (linear, {"chunk_size": 0}, ValueError, "`chunk_size`"),
    "device": (nn.Linear(20, 1).eval(), {"device": "tpu9"}, ValueError, "`device` 'tpu9'"),
    "out_of_domain": (linear, {"out_of_domain": "ignore"}, ValueError, "`out_of_domain`"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:Observation names are not unique")
@pytest.mark.parametrize("case", CASES)
def test_a_mistake_gets_its_sentence_and_changes_nothing(adata: AnnData, case: str) -> None:
    model, arguments, error, sentence = CASES[case]
    arguments = dict(arguments)
    change = arguments.pop("change", lambda _: None)
    change(adata)
    before = adata.copy()
    with pytest.raises(error, match=sentence):
        sx.tl.sensx(adata, model, **{**SMALL, **arguments})
    assert not adata.is_view
    for slot in ("obs", "var"):
        pd.testing.assert_frame_equal(getattr(adata, slot), getattr(before, slot))
    for slot in ("layers", "obsm", "uns"):
        assert set(getattr(adata, slot)) == set(getattr(before, slot))


def test_not_an_anndata() -> None:
    with pytest.raises(
        TypeError, match="must be an AnnData; got ndarray. For arrays there is sx.core"
    ):
        sx.tl.sensx(np.zeros((2, 2)), linear)  # type: ignore[arg-type]


def test_a_model_that_fails_on_every_cell(adata: AnnData) -> None:
    def fragile(rows: np.ndarray) -> np.ndarray:
        # Right where it is checked first, wrong inside every neighbourhood.
        known = (rows[:, None, :] == adata_rows[None]).all(axis=2).any(axis=1)
        return np.where(known, 1.0, np.nan)

    adata_rows = adata.X.toarray()
    with pytest.raises(ValueError, match="failed on all 60 cells.*not finite in"):
        sx.tl.sensx(adata, fragile, **SMALL)
    assert "sensx" not in adata.uns


def test_a_view_stays_a_view_when_the_call_fails(adata: AnnData) -> None:
    view = adata[:10]
    with pytest.raises(ValueError, match="`tau`"):
        sx.tl.sensx(view, linear, **SMALL, tau=-1.0)
    assert view.is_view


def test_counts_for_a_model_of_log_values_are_worth_a_warning(adata: AnnData) -> None:
    net = sx.models.fit_mlp(adata, "cell_type", hidden=(4,), epochs=1, progress=False)
    adata.X = adata.layers["counts"] * 10
    with pytest.warns(UserWarning, match="raw counts"):
        sx.tl.sensx(adata, net, **SMALL)


def test_scaled_values_for_a_model_of_expression_are_worth_a_warning(adata: AnnData) -> None:
    net = sx.models.fit_mlp(adata, "cell_type", hidden=(4,), epochs=1, progress=False)
    X = adata.X.toarray()
    adata.X = (X - X.mean(axis=0)) / X.std(axis=0)
    with pytest.warns(UserWarning, match="go down to -.*were they centred or scaled since"):
        sx.tl.sensx(adata, net, **SMALL)


def test_constant_genes_are_not_tested(adata: AnnData) -> None:
    X = adata.X.toarray()
    X[:, 4] = 2.0
    adata.X = X
    sx.tl.sensx(adata, linear, statistics=("value", "rank", "n"), **SMALL)
    assert np.isnan(adata.layers["sensx"][:, 4]).all()
    assert (adata.layers["sensx_rank"][:, 4] == 0).all()
    assert not np.isnan(adata.layers["sensx"][:, 5]).any()


def test_dropout_in_eval_mode_is_fine(adata: AnnData) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(20, 4), nn.Dropout(0.5), nn.Linear(4, 1)).eval()
    sx.tl.sensx(adata, net, **SMALL)
    assert "sensx" in adata.layers
