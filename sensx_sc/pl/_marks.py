"""Colours, units and words that the pictures share; all palettes are safe for colour-blind eyes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

RAISES, LOWERS, UNSIGNED = "#b2182b", "#2166ac", "#7f7f7f"
"""Sign of ``mean``: more expression raises q, lowers q, or it is not known."""

MISSING = "#d0d0d0"
"""Where there is no value."""

STATUS_COLOURS = {  # Okabe and Ito (2008)
    "resolved": "#0072B2",
    "left_censored": "#E69F00",
    "unsaturated": "#D55E00",
    "insensitive": "#009E73",
    "failed": "#000000",
    "skipped": MISSING,
}
STATUS_MARKERS = {"resolved": "o", "left_censored": "<", "unsaturated": ">"}

GROUP_COLOURS = (  # Okabe and Ito, then Tol's muted ones
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#CC79A7",
    "#56B4E9",
    "#D55E00",
    "#F0E442",
    "#332288",
    "#882255",
    "#44AA99",
    "#999933",
    "#AA4499",
)


def group_colours(names: Sequence[str]) -> dict[str, str]:
    """Return a colour for each group; they repeat after twelve, the labels tell them apart."""
    return {name: GROUP_COLOURS[i % len(GROUP_COLOURS)] for i, name in enumerate(names)}


def quantity(params: Mapping[str, Any]) -> str:
    """Return what q is called: its kind where it has a name, else ``q``."""
    names = {"probability": "probability", "logit": "logit", "value": "output"}
    return names.get(str(params.get("qoi")), "q")


def unit(statistic: str, params: Mapping[str, Any]) -> str:
    """Return the axis label of a statistic, with its unit; two lines where one is too long."""
    q = quantity(params)
    labels = {
        "value": f"|change in {q}|\nper unit of expression",
        "change": f"|change in {q}|",
        "mean": f"change in {q}\nper unit of expression",
        "std": f"sd of change in {q}\nper unit of expression",
        "shapley": f"Shapley value ({q})",
        "se": f"standard error of |change in {q}|\nper unit of expression",
        "change_se": f"standard error of |change in {q}|",
        "n": "valid steps",
    }
    return labels.get(statistic, statistic)
