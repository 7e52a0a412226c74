"""The tables of property gradients: scores, significance, side effects, response curves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sensx_sc.companions.significance import adjusted, placebo_p, sign_flip_p
from sensx_sc.companions.traces import paper_epgm, shuffle_test

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sensx_sc.companions.property_gradient import Asked, Followed
    from sensx_sc.core.arrays import Bools, Floats

LEVEL = 0.01
"""Level at which the published shuffle test calls a trace significant."""
_BAND = (5.0, 95.0)
_HALF = (25.0, 75.0)


def property_table(
    followed: Sequence[Followed], asked: Asked, names: Sequence[str], *, seed: int = 0
) -> pd.DataFrame:
    """Scores of each property in each group of inputs: means over inputs, and how sure they are.

    Parameters
    ----------
    names
        Of the groups.

    Returns
    -------
    Columns group, property, unit, n_inputs (whose property moved), epgm and its standard error
    over inputs, epgm_per_sd, net and its standard error, monotonicity, flips, flipped (share of
    inputs whose class changes), max_slope, at, local, own_change (range of the property in standard
    deviations), side_effect (the other property that changes most) and side_change, p_placebo and
    p_net with their adjusted values.
    """
    rows = [
        {"group": name, **_row(each, asked.group == k, seed)}
        for k, name in enumerate(names)
        for each in followed
    ]
    table = pd.DataFrame(rows)
    for column in ("p_placebo", "p_net"):
        table[f"{column}_adjusted"] = adjusted(table[column].to_numpy(dtype=np.float64))
    return table


def _row(found: Followed, chosen: Bools, seed: int) -> dict[str, Any]:
    scores, paths = found.scores, found.paths
    known = chosen & np.isfinite(scores.epgm)
    epgm, net = scores.epgm[known], scores.net[known]
    own = np.ptp(found.m[known], axis=1) / paths.deviation if known.any() else np.empty(0)
    side = _side_changes(found, known)
    most = max(side, key=lambda name: side[name], default="")
    # Every placebo is a mean over the inputs whose property it moves.
    placebo = np.array([_mean(values) for values in found.placebo_epgm[:, known]])
    flips = found.flips[known]
    return {
        "property": paths.name,
        "unit": paths.unit,
        "n_inputs": int(known.sum()),
        "epgm": _mean(epgm),
        "epgm_se": _error(epgm),
        "epgm_per_sd": _mean(epgm) * paths.deviation,
        "net": _mean(net),
        "net_se": _error(net),
        "monotonicity": _mean(scores.monotonicity[known]),
        "flips": _mean(flips),
        "flipped": _mean(np.where(np.isnan(flips), np.nan, flips > 0)),
        "max_slope": _mean(scores.max_slope[known]),
        "at": _mean(scores.at[known]),
        "local": _mean(scores.local[known]),
        "own_change": _mean(own),
        "side_effect": most,
        "side_change": side.get(most, np.nan),
        "p_placebo": float(placebo_p(np.array([_mean(epgm)]), placebo[:, None])[0]),
        "p_net": sign_flip_p(net, seed=seed),
    }


def _side_changes(found: Followed, chosen: Bools) -> dict[str, float]:
    """Mean range of other properties along the path, in their standard deviations."""
    return {
        name: _mean(found.side[name][chosen]) / deviation
        for name, deviation in found.paths.side_deviation.items()
        if name != found.paths.name and deviation > 0
    }


def selectivity_table(followed: Sequence[Followed]) -> pd.DataFrame:
    """Change of every tracked property along every path, in standard deviations over the inputs.

    Returns
    -------
    A row for each edited property, a column for each tracked one.
    """
    rows = {}
    for found in followed:
        every = np.ones(len(found.m), dtype=bool)
        own = _mean(np.ptp(found.m, axis=1)) / found.paths.deviation
        rows[found.paths.name] = {**_side_changes(found, every), found.paths.name: own}
    return pd.DataFrame.from_dict(rows, orient="index").astype(np.float64)


def curve_table(followed: Sequence[Followed], asked: Asked, names: Sequence[str]) -> pd.DataFrame:
    """Mean response along each path, and where the middle 90 % of placebos lie.

    Returns
    -------
    Columns group, property, step, strength, measured, q, q_low and q_high (quartiles over inputs),
    placebo_low and placebo_high (5th and 95th percentile over placebos of their mean response).
    """
    parts = []
    for k, name in enumerate(names):
        chosen = asked.group == k
        for found in followed:
            q = found.q[chosen]
            low, high = np.percentile(q, _HALF, axis=0)
            band = np.full((2, q.shape[1]), np.nan)
            if len(found.placebo_q):
                band = np.percentile(found.placebo_q[:, k], _BAND, axis=0)
            part = {
                "group": name,
                "property": found.paths.name,
                "step": np.arange(q.shape[1]),
                "strength": found.paths.strengths,
                "measured": found.m[chosen].mean(axis=0),
                "q": q.mean(axis=0),
                "q_low": low,
                "q_high": high,
                "placebo_low": band[0],
                "placebo_high": band[1],
            }
            parts.append(pd.DataFrame(part))
    return pd.concat(parts, ignore_index=True)


def paper_table(
    followed: Sequence[Followed],
    asked: Asked,
    names: Sequence[str],
    *,
    n_permutations: int = 10_000,
    seed: int = 0,
) -> pd.DataFrame:
    """The scores as published: EPGM over the index of the step, and the shuffle test.

    Returns
    -------
    Columns group, property, epgm_paper (mean over inputs), p_shuffle (median), significant (share
    of inputs with p below .01).
    """
    rows = []
    for k, name in enumerate(names):
        chosen = np.flatnonzero(asked.group == k)
        for found in followed:
            traces = np.concatenate([asked.q_x[chosen, None], found.q[chosen]], axis=1)
            p = [
                shuffle_test(trace, n_permutations=n_permutations, seed=seed + int(i))
                for i, trace in zip(chosen, traces, strict=True)
            ]
            rows.append(
                {
                    "group": name,
                    "property": found.paths.name,
                    "epgm_paper": float(paper_epgm(traces).mean()),
                    "p_shuffle": float(np.median(p)),
                    "significant": float(np.mean(np.array(p) < LEVEL)),
                }
            )
    return pd.DataFrame(rows)


def _mean(values: Floats) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")


def _error(values: Floats) -> float:
    known = values[np.isfinite(values)]
    return float(known.std(ddof=1) / np.sqrt(len(known))) if len(known) > 1 else float("nan")
