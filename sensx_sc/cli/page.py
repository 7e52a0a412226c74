"""One HTML page of results: tables, and figures as pictures inside it."""

from __future__ import annotations

import base64
import html
import io
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

import sensx_sc as sx
from sensx_sc.words import STATUSES

if TYPE_CHECKING:
    from anndata import AnnData

_MOST_GROUPS, _MOST_CELLS, _MOST_MESSAGES = 24, 2000, 20
_FEWEST_BARS = 10
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 1100px; margin: 2em auto;
       padding: 0 1em; }
h1 { font-size: 1.5em; } h2 { font-size: 1.2em; margin-top: 2em; }
table { border-collapse: collapse; font-size: 13px; margin: .5em 0; display: block;
        max-width: 100%; overflow-x: auto; }
th, td { padding: .15em .7em; text-align: left; border-bottom: 1px solid #ddd;
         overflow-wrap: anywhere; }
td.n { text-align: right; font-variant-numeric: tabular-nums; }
th, td.n { white-space: nowrap; }
img { max-width: 100%; height: auto; } .note { color: #555; }
"""


def page(adata: AnnData, key: str, *, n_genes: int = 15) -> str:
    """The page of the results under a key.

    Parameters
    ----------
    adata
        Results; layers may be lazy.
    n_genes
        Genes a class in tables and figures.
    """
    stored = adata.uns[key]
    parts = [
        f"<h1>SensX: {_text(stored['params']['model'])}, {adata.n_obs} cells</h1>",
        _summary(adata, key),
        "<h2>Statuses</h2>",
        _table(status_table(adata, key)),
        *_figures(adata, key, n_genes),
        *_rankings(adata, key, n_genes),
        *_failures(adata, key),
        "<h2>Parameters</h2>",
        _table(parameter_table(stored)),
    ]
    body = "\n".join(parts)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>SensX: {_text(key)}</title><style>{_STYLE}</style></head>\n"
        f"<body>\n{body}\n</body></html>\n"
    )


def status_table(adata: AnnData, key: str) -> pd.DataFrame:
    """Cells of each explained output by status, with quartiles of delta*."""
    obs = adata.obs
    status = obs[f"{key}_status"].astype(str)
    target = obs[f"{key}_target"].astype(object)
    target = target.where(target.notna(), "(not known)").astype(str)
    star = obs[f"{key}_delta_star"].where(obs[f"{key}_delta_star"] > 0)
    rows = []
    for name in sorted(target[status != "skipped"].unique()):
        mine = (target == name) & (status != "skipped")
        row: dict[str, Any] = {"explained output": name, "cells": int(mine.sum())}
        counts = status[mine].value_counts()
        row |= {s.replace("_", "-"): int(counts[s]) for s in STATUSES if s in counts}
        for label, q in (("25 %", 0.25), ("median", 0.5), ("75 %", 0.75)):
            row[f"delta*, {label}"] = star[mine].quantile(q)
        rows.append(row)
    table = pd.DataFrame(rows)
    counts = [c for c in table if c not in ("explained output",) and not c.startswith("delta*")]
    table[counts] = table[counts].fillna(0).astype(int)
    ends = [c for c in table if c.startswith("delta*")]
    return table[["explained output", *counts, *ends]]


def parameter_table(stored: Any) -> pd.DataFrame:
    """Parameters, noise floor and versions, by name."""
    told = {**stored["params"], "noise_floor": stored.get("noise_floor")}
    told |= {f"version of {name}": found for name, found in stored.get("versions", {}).items()}
    rows = [(name, _plain(value)) for name, value in sorted(told.items())]
    return pd.DataFrame(rows, columns=["parameter", "value"])


def _plain(value: Any) -> str:
    value = value.tolist() if isinstance(value, np.ndarray | np.generic) else value
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _summary(adata: AnnData, key: str) -> str:
    counts = adata.obs[f"{key}_status"].astype(str).value_counts()
    said = ", ".join(f"{counts[s]} {s.replace('_', '-')}" for s in STATUSES if s in counts)
    params = adata.uns[key]["params"]
    return (
        f"<p>{said}. {params['n_tested']} of {params['n_features']} features were perturbed, "
        f"{params['n_walks']} walks a cell, domain: {_text(str(params.get('domain', '')))}.</p>"
    )


def _figures(adata: AnnData, key: str, n_genes: int) -> list[str]:
    """Headed pictures; what cannot be drawn of these results is left out."""
    ranked = "rankings" in adata.uns[key] and len(adata.uns[key]["rankings"])
    groups = list(pd.unique(adata.uns[key]["rankings"]["group"]))[:_MOST_GROUPS] if ranked else []
    target = f"{key}_target"
    scale = _picture(sx.pl.delta_star(adata, target, key=key), "delta* by explained output")
    parts = ["<h2>Characteristic scale</h2>", scale]
    first = _first_cells(adata, key)
    if first and f"{key}_envelope" in adata.obsm:
        parts += ["<h2>Calibration of the first cells</h2>",
                  _picture(sx.pl.envelope(adata, first, key=key), "envelopes")]  # fmt: skip
    for title, how in _PICTURES:
        table = sx.get.rankings(adata, groups=groups, key=key, **how) if groups else None
        if table is None or table.empty or set(table["group"]) != set(groups):
            continue
        shown = max(n_genes, _FEWEST_BARS)  # a legend needs room beside the bars
        drawn = sx.pl.rankings(adata, groups=groups, n_genes=shown, key=key, **how)
        parts += [f"<h2>{title}</h2>", _picture(drawn, title)]
    n_cells = int((adata.obs[f"{key}_status"].astype(str) != "skipped").sum())
    if groups and key in adata.layers and n_cells <= _MOST_CELLS:
        drawn = sx.pl.heatmap(adata, n_genes=max(2, 30 // len(groups)), key=key)
        parts += ["<h2>The first genes in every cell</h2>", _picture(drawn, "heat map")]
    return parts


_PICTURES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("Genes present in the cells, by change of the response",
     {"rank_by": "change", "presence": "present"}),
    ("Genes by sensitivity per unit of expression", {"rank_by": "value"}),
)  # fmt: skip


def _first_cells(adata: AnnData, key: str) -> list[str]:
    """The first cell of each of up to four outputs that has an envelope."""
    there = np.isfinite(adata.obs[f"{key}_qoi"].to_numpy(dtype=np.float64))
    target = adata.obs[f"{key}_target"].astype(str)[there]
    return target[~target.duplicated()].index[:4].tolist()


def _picture(axes: Any, text: str) -> str:
    """A figure as a picture inside the page."""
    import matplotlib.pyplot as plt

    figure = np.ravel(np.asarray(axes, dtype=object))[0].get_figure(root=True)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight")
    plt.close(figure)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    return f'<p><img alt="{_text(text)}" src="data:image/png;base64,{data}"></p>'


def _rankings(adata: AnnData, key: str, n_genes: int) -> list[str]:
    """A table of the first genes of each explained output."""
    if "rankings" not in adata.uns[key] or not len(adata.uns[key]["rankings"]):
        return ['<p class="note">No cell has an attribution, so there are no rankings.</p>']
    parts = ["<h2>Top genes by class</h2>"]
    table = sx.get.rankings(adata, n_genes=n_genes, key=key)
    for group, part in table.groupby("group", sort=False):
        cells = int(part["n_cells"].max())
        parts.append(f"<h3>{_text(str(group))} ({cells} cells)</h3>")
        parts.append(_table(part.drop(columns="group")))
    return parts


def _failures(adata: AnnData, key: str) -> list[str]:
    """The cells on which the model failed, and what it said."""
    table = adata.uns[key]["cells"]
    failed = table[table["message"].astype(str) != ""]
    if failed.empty:
        return []
    shown = failed["message"].head(_MOST_MESSAGES)
    rows = pd.DataFrame({"cell": shown.index, "message": shown.to_numpy()})
    return [f"<h2>Failed cells ({len(failed)})</h2>", _table(rows)]


def _table(table: pd.DataFrame) -> str:
    head = "".join(f"<th>{_text(str(name))}</th>" for name in table.columns)
    rows = []
    for row in table.itertuples(index=False):
        cells = "".join(_cell(value) for value in row)
        rows.append(f"<tr>{cells}</tr>")
    return f"<table><tr>{head}</tr>{''.join(rows)}</table>"


def _cell(value: Any) -> str:
    if isinstance(value, float | np.floating):
        return f'<td class="n">{"" if np.isnan(value) else f"{value:.4g}"}</td>'
    if isinstance(value, int | np.integer):
        return f'<td class="n">{value}</td>'
    return f"<td>{_text(str(value))}</td>"


def _text(text: str) -> str:
    return html.escape(text)
