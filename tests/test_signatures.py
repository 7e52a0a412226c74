"""What the public functions have in common: one name for a thing, one order, one default."""

from __future__ import annotations

import inspect
from dataclasses import is_dataclass
from typing import Any

import pytest

import sensx_sc as sx

ROOMS = (sx.tl, sx.pl, sx.get, sx.pp, sx.im, sx.models, sx.nn, sx.datasets, sx.companions, sx.core)
ORDERS = (  # wherever some of these are arguments, they come in this order
    ("target", "layer", "obsm", "mask_obs", "mask_var"),
    ("target", "qoi"),
    ("lower", "upper", "deltas", "tau", "n_samples", "n_walks", "design"),
    ("cells", "rank_by", "presence", "n_genes", "key", "ncols", "ax"),
    ("outputs", "feature_names", "output_names", "device"),
    ("batch_size", "chunk_size", "device", "precision", "seed", "key", "key_added", "store"),
    ("key_added", "on_error", "progress", "copy"),
    ("seed", "progress", "copy"),
)
DEFAULTS: dict[str, Any] = {
    "layer": None, "mask_obs": None, "mask_var": None, "device": "auto", "precision": None,
    "progress": None, "copy": False, "ax": None, "tau": 0.1, "n_samples": 1000, "deltas": "auto",
    "design": "balanced", "batch_size": "auto",
}  # fmt: skip
ELSEWHERE = {  # where one word has another meaning, or the thing another default for a reason
    "batch_size": ("fit_mlp", "fit_scores", "DeepSpot", "Each", "Remote"),  # of training, requests
    "deltas": ("landscape", "calibrate", "delta_grid"),
    "design": ("convergence",),  # None: that of the results
    "n_samples": ("compare",),
    "tau": ("calibrate",),
    "seed": ("synthetic", "tissue", "tissue_model", "ExpressionMLP", "ScoresMLP"),  # fixed data
}
OTHER_NAMES = {
    "n_top": "top_k", "random_state": "seed", "obs_mask": "mask_obs", "var_mask": "mask_var",
    "progress_bar": "progress", "key_add": "key_added", "n_top_genes": "n_genes",
    "use_layer": "layer", "group_by": "groupby",
}  # fmt: skip


def functions() -> list[Any]:
    found = []
    for room in ROOMS:
        for name in room.__all__:
            made = getattr(room, name)
            if (
                callable(made)
                and not is_dataclass(made)
                and not getattr(made, "_is_protocol", False)
            ):
                label = f"{room.__name__.removeprefix('sensx_sc.')}.{name}"
                found.append(pytest.param(name, inspect.signature(made), id=label))
    return found


@pytest.mark.parametrize(("name", "signature"), functions())
def test_one_name_one_order_one_default(name: str, signature: inspect.Signature) -> None:
    names = list(signature.parameters)
    for order in ORDERS:
        there = [one for one in names if one in order]
        assert there == [one for one in order if one in names]
    for one, other in OTHER_NAMES.items():
        assert one not in names, f"it is called {other!r}"
    for one, default in (DEFAULTS | {"seed": None}).items():
        given = signature.parameters.get(one)
        if given is not None and name not in ELSEWHERE.get(one, ()):
            assert given.default in (default, inspect.Parameter.empty), one


@pytest.mark.parametrize(
    ("room", "name"), [(room, name) for room in (sx.tl, sx.pl) for name in room.__all__]
)
def test_only_what_it_is_about_may_be_positional(room: Any, name: str) -> None:
    about = {
        "adata", "model", "targets", "editors", "groupby", "basis", "cells",
        "image", "result", "attribution", "table",
    }  # fmt: skip
    given = inspect.signature(getattr(room, name)).parameters.values()
    assert {one.name for one in given if one.kind is one.POSITIONAL_OR_KEYWORD} <= about


@pytest.mark.parametrize("name", sorted(set(sx.tl.__all__) & set(sx.pl.__all__)))
def test_a_plot_looks_where_its_tool_writes(name: str) -> None:
    key = inspect.signature(getattr(sx.pl, name)).parameters["key"].default
    added = inspect.signature(getattr(sx.tl, name)).parameters["key_added"].default
    short = {"perturbation_curve": "perturbation"}.get(name, name)
    assert key == (f"sensx_{short}" if added is None else added)
