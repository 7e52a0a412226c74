"""Tables of the tools that pictures are made from, and what methods are called in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sensx_sc.get._stored import check_names, quoted
from sensx_sc.pl._marks import GROUP_COLOURS

if TYPE_CHECKING:
    from anndata import AnnData

METHOD_NAMES = {
    "value": "SensX value",
    "change": "SensX change",
    "mean": "SensX mean",
    "shapley": "SensX Shapley",
    "ig_zero": "IG, zero",
    "ig_mean": "IG, mean",
    "ig_random": "IG, random",
    "ig_expected": "IG, expected",
    "ig_own": "IG, own mean",
    "gradient_shap": "GradientShap",
    "deeplift_shap": "DeepLiftShap",
    "kernel_shap": "KernelSHAP",
    "permutation_shap": "PermutationSHAP",
    "random": "random order",
}
_OWN = {"value": "#D55E00", "change": "#0072B2", "mean": "#CC79A7", "shapley": "#009E73"}
_CONTROL = {"random": "#9a9a9a"}
_DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.5, 1)))


def tool_results(
    adata: AnnData, key: str, tools: Sequence[str], *, room: str = "tl"
) -> Mapping[str, Any]:
    """What a tool of a room left under a key of ``uns``.

    Raises
    ------
    KeyError
        Nothing there, or the results of another tool.
    """
    stored = adata.uns.get(key)
    params = stored.get("params") if isinstance(stored, Mapping) else None
    if not (isinstance(params, Mapping) and params.get("tool") in tools):
        doors = [f"sx.{room}.{tool}" for tool in tools]
        msg = (
            f"key={key!r} names no results of {' or '.join(doors)}: run {doors[0]} first. "
            f"adata.uns has the keys {quoted(adata.uns)}."
        )
        raise KeyError(msg)
    found: Mapping[str, Any] = stored
    return found


def method_name(method: str) -> str:
    """What a method is called in pictures."""
    return METHOD_NAMES.get(method, method)


def method_styles(methods: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Colour and line of each method: ours bold, the control grey, dashes where colours repeat."""
    # Yellow is too pale for a line.
    free = [c for c in GROUP_COLOURS if c not in (*_OWN.values(), "#F0E442")]
    styles: dict[str, dict[str, Any]] = {}
    others = [name for name in methods if name not in _OWN and name not in _CONTROL]
    for i, name in enumerate(others):
        styles[name] = {
            "color": free[i % len(free)],
            "linestyle": _DASHES[(i // len(free)) % len(_DASHES)],
            "linewidth": 1.3,
        }
    for name in methods:
        if name in _OWN:
            styles[name] = {"color": _OWN[name], "linestyle": "-", "linewidth": 2.2}
        elif name in _CONTROL:
            styles[name] = {"color": _CONTROL[name], "linestyle": ":", "linewidth": 1.6}
    return {name: styles[name] for name in methods}


def chosen(
    asked: str | Sequence[str] | None, there: pd.Series[Any], argument: str, what: str
) -> list[str]:
    """Names that were asked for, all that are there by default, in their order."""
    names = list(pd.unique(there))
    return names if asked is None else check_names(asked, names, argument, what)


def place_points(values: np.ndarray) -> np.ndarray:
    """Where points of a strip are put so that few cover each other, from -1 to 1."""
    order = np.argsort(np.argsort(values, kind="stable"), kind="stable")
    return 2 * np.modf(order * 0.6180339887)[0] - 1
