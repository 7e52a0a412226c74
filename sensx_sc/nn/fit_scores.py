"""Train gated nets on cells with labels, several times, and read their ranking of genes."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sensx_sc.logger import logger
from sensx_sc.models.mlp_data import is_sparse, labelled_cells, stratified_split
from sensx_sc.models.mlp_training import Recipe, merits, predict, row_reader, train
from sensx_sc.nn.scores_activation import ScoresMLP

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pandas as pd
    import torch
    from anndata import AnnData
    from numpy.typing import NDArray
    from torch import Tensor

    from sensx_sc.models.mlp_data import LabelledCells

TOOL = "fit_scores"
DEFAULT_STEPS, LEAST_EPOCHS = 500, 30
_STANDARDISED_FROM = 20_000  # cells that means and deviations are taken from, at most


@dataclass(frozen=True)
class Trained:
    """One gated net.

    Attributes
    ----------
    net
        In eval mode, on the CPU.
    effective, weights
        Effective scores and weights of the features, (d,).
    trace
        Weights after each epoch, (epochs, d).
    """

    net: ScoresMLP
    effective: NDArray[np.float64]
    weights: NDArray[np.float64]
    trace: NDArray[np.float32]


def fit_scores(
    adata: AnnData,
    groupby: str,
    group: object | None = None,
    *,
    hidden: Sequence[int] = (64, 32),
    k: float | None = None,
    temperature: float = 1.0,
    entropy: float = 0.01,
    n_seeds: int = 5,
    top_k: int = 50,
    layer: str | None = None,
    mask_obs: str | Sequence[bool] | NDArray[np.bool_] | None = None,
    mask_var: str | Sequence[bool] | NDArray[np.bool_] | None = None,
    epochs: int | None = None,
    batch_size: int = 64,
    learning_rate: float = 1e-3,
    score_rate: float = 10.0,
    weight_decay: float = 1e-2,
    validation_fraction: float = 0.15,
    test_fraction: float = 0.15,
    device: str | torch.device = "auto",
    seed: int | None = None,
    key_added: str = "scores",
    progress: bool | None = None,
) -> ScoresMLP:
    """Train classifiers behind a :class:`ScoresActivation`; rank genes by what they let through.

    Nets with `n_seeds` different starts and orders of cells are trained on the same split (AdamW,
    best validation F1 kept). The ranking is global: one for the whole data set, not one a cell. It
    is read from the effective scores, since weights alone can be exchanged against the next layer.
    This is a reconstruction of the published idea; see :class:`ScoresActivation`.

    Parameters
    ----------
    adata
        Cells; results are written into it.
    groupby, group, layer, mask_obs, mask_var
        As in :func:`sensx_sc.models.fit_mlp`.
    hidden
        Sizes of the hidden layers, at least one.
    k, temperature
        As in :class:`ScoresActivation`.
    entropy
        Penalty on the entropy of the weights over log d; 0 for none.
    n_seeds
        Nets to train.
    top_k
        Length of the top whose stability over seeds is told.
    epochs
        Passes over the training cells; None: as many as make 500 steps, and at least 30.
    batch_size, learning_rate
        Of AdamW.
    score_rate
        The scores' learning rate, in units of `learning_rate`.
    weight_decay
        On the layer after the gate; without it the weights are not identifiable.
    validation_fraction, test_fraction, device, progress
        As in :func:`sensx_sc.models.fit_mlp`.
    seed
        Of the split, and the first of the nets' seeds; None: ``settings.seed``.
    key_added
        Prefix of all keys.

    Returns
    -------
    The net of the best validation F1, in eval mode, with ``report``. Written are, with ``scores``
    for ``key_added``:

    - ``.var["scores_effective"]``: effective score k w_j ||W_j||, mean over nets; NaN = left out,
      or constant in the training cells, of which a net can learn nothing.
    - ``.var["scores_weight"]``: mean weight; all sum to 1.
    - ``.var["scores_rank"]``: 1 = largest effective score, 0 = left out or constant.
    - ``.var["scores_stability"]``: share of the nets that have the gene among their first `top_k`.
    - ``.varm["scores_seeds"]``: effective scores of each net, (n_vars, n_seeds).
    - ``.uns["scores"]``: ``params``; ``nets`` (seed, f1 and accuracy on the test cells, epoch kept,
      effective number of genes exp(entropy)); ``agreement``, overlap of the top and Spearman of all
      genes for each pair of nets; ``trace`` (n_seeds, epochs, 20), weights of the 20 first genes
      after each epoch, named in ``traced``.

    Raises
    ------
    KeyError, TypeError, ValueError
        As :func:`sensx_sc.models.fit_mlp`; nothing is written then.

    Examples
    --------
    >>> import sensx_sc as sx
    >>> adata = sx.datasets.toy()
    >>> net = sx.nn.fit_scores(adata, "cell_type", n_seeds=2, top_k=9, progress=False)
    >>> bool(adata.var.loc[adata.var["marker_of"].notna(), "scores_rank"].mean() < 10)
    True

    References
    ----------
    Covaci et al., arXiv 2511.13809 (reconstruction).
    """
    from sensx_sc.models.devices import find_device
    from sensx_sc.settings import settings
    from sensx_sc.slots import check_free

    seed = settings.seed if seed is None else int(seed)
    _check_numbers(
        entropy=(entropy, 0, "not negative"),
        score_rate=(score_rate, 1e-12, "positive"),
        weight_decay=(weight_decay, 0, "not negative"),
        learning_rate=(learning_rate, 1e-12, "positive"),
    )
    _check_counts(n_seeds=n_seeds, top_k=top_k, batch_size=batch_size, epochs=epochs)
    check_free(adata, key_added, TOOL)
    _refuse_foreign(adata, key_added)
    sizes = tuple(hidden) if isinstance(hidden, list | tuple | np.ndarray) else (hidden,)
    if not sizes:
        msg = "`hidden` must name at least one layer after the gate; got ()."
        raise ValueError(msg)
    where = find_device(settings.device if device == "auto" else device)
    data = labelled_cells(adata, groupby, group, layer=layer, mask_var=mask_var, mask_obs=mask_obs)
    parts = stratified_split(
        data.codes,
        validation_fraction=validation_fraction,
        test_fraction=test_fraction,
        seed=seed,
    )
    if epochs is None:
        epochs = max(LEAST_EPOCHS, math.ceil(DEFAULT_STEPS * batch_size / len(parts[0])))
    shown = settings.progress if progress is None else bool(progress)
    read = row_reader(data.rows, where, settings.memory_budget)

    def one(start: int) -> Trained:
        recipe = Recipe(
            epochs=int(epochs),
            batch_size=int(batch_size),
            learning_rate=float(learning_rate),
            weight_decay=float(weight_decay),
            device=where,
            seed=start,
            progress=shown,
        )
        net = ScoresMLP(
            data.var_names,
            data.classes if group is None else data.classes[1:],
            hidden=sizes,
            k=k,
            temperature=temperature,
            input_range=data.input_range,
            seed=start,
        ).to(where)
        return _trained(net, read, data, parts, recipe, entropy=entropy, score_rate=score_rate)

    found = [one(seed + i) for i in range(n_seeds)]
    params = {
        "groupby": groupby,
        "group": None if group is None else str(group),
        "layer": layer,
        "hidden": list(sizes),
        "k": found[0].net.gate.k,
        "temperature": temperature,
        "entropy": entropy,
        "n_seeds": n_seeds,
        "top_k": top_k,
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "score_rate": score_rate,
        "weight_decay": weight_decay,
        "seed": seed,
    }
    _write(adata, key_added, params, data, found, top_k, _varying(data.rows[parts[0]]))
    best = max(found, key=lambda each: each.net.report["validation_f1"])
    logger.info(
        "fit_scores: obs[%r], %d nets, F1 %.3f to %.3f on %d held-out cells; added .var[%r] and "
        "others of that prefix, .varm[%r], .uns[%r].",
        groupby,
        n_seeds,
        min(each.net.report["f1"] for each in found),
        max(each.net.report["f1"] for each in found),
        len(parts[2]),
        f"{key_added}_effective",
        f"{key_added}_seeds",
        key_added,
    )
    return best.net


def _trained(
    net: ScoresMLP,
    read: Callable[[Any], Tensor],
    data: LabelledCells,
    parts: tuple[NDArray[np.int64], ...],
    recipe: Recipe,
    *,
    entropy: float,
    score_rate: float,
) -> Trained:
    """Train one net: scores at a rate of their own, decay on the layer after the gate only."""
    training, validation, test = parts
    net.gate.fit_standardisation(read(training[:_STANDARDISED_FROM]))
    first = [net.first.weight]
    apart = {id(net.gate.scores), *map(id, first)}
    groups: list[dict[str, Any]] = [
        {
            "params": [net.gate.scores],
            "lr": recipe.learning_rate * score_rate,
            "weight_decay": 0.0,
        },
        {"params": first},
        {"params": [p for p in net.parameters() if id(p) not in apart], "weight_decay": 0.0},
    ]
    scale = entropy / math.log(max(len(data.var_names), 2))
    trace: list[NDArray[np.float32]] = []
    epoch, validation_f1 = train(
        net,
        read,
        data.codes,
        (training, validation),
        recipe,
        parameters=groups,
        penalty=(lambda: scale * net.gate.entropy()) if entropy else None,
        after_epoch=lambda: trace.append(net.gate.weights.cpu().numpy().astype(np.float32)),
    )
    held_out = merits(predict(net, read, test), data.codes[test])
    held_out.pop("per_class", None)
    net.report = {
        **held_out,
        "epoch": epoch,
        "validation_f1": validation_f1,
        "seed": recipe.seed,
        "effective_genes": float(net.gate.entropy().detach().exp()),
        "test_obs_names": tuple(str(name) for name in data.obs_names[test]),
    }
    net = net.to("cpu").eval()
    return Trained(
        net,
        net.effective_scores().double().numpy(),
        net.gate.weights.double().numpy(),
        np.stack(trace),
    )


def _write(
    adata: AnnData,
    key: str,
    params: dict[str, Any],
    data: LabelledCells,
    found: list[Trained],
    top_k: int,
    varying: NDArray[np.bool_],
) -> None:
    from sensx_sc.slots import put

    at = adata.var_names.get_indexer(list(data.var_names))
    effective = np.stack([each.effective for each in found], axis=1)
    effective[~varying] = np.nan  # what is left of the weights that the net started with
    mean = effective.mean(axis=1)
    n_ranked = int(varying.sum())
    order = np.argsort(-mean, kind="stable")[:n_ranked]  # NaN comes last
    rank = np.zeros(adata.n_vars, dtype=np.int64)
    rank[at[order]] = np.arange(1, n_ranked + 1)
    top_k = min(top_k, n_ranked)
    top = [set(np.argsort(-column, kind="stable")[:top_k].tolist()) for column in effective.T]
    stable = np.mean([[j in names for j in range(len(mean))] for names in top], axis=0)
    stable[~varying] = np.nan
    traced = order[:20]
    tables = {
        "nets": _nets(found),
        "agreement": _agreement(effective[varying], top, found),
        "trace": np.stack([each.trace[:, traced] for each in found]),
        "traced": np.asarray(data.var_names, dtype=object)[traced].astype(str),
    }
    put(adata, key, TOOL, params, tables)

    def column(values: NDArray[np.float64]) -> NDArray[np.float64]:
        whole = np.full((adata.n_vars, *values.shape[1:]), np.nan)
        whole[at] = values
        return whole

    adata.var[f"{key}_effective"] = column(mean)
    adata.var[f"{key}_weight"] = column(np.mean([each.weights for each in found], axis=0))
    adata.var[f"{key}_rank"] = rank
    adata.var[f"{key}_stability"] = column(stable)
    adata.varm[f"{key}_seeds"] = column(effective)


def _varying(rows: Any) -> NDArray[np.bool_]:
    """Which columns of rows, an ndarray or CSR, hold more than one value."""
    low, high = rows.min(axis=0), rows.max(axis=0)
    if is_sparse(rows):
        low, high = low.toarray().ravel(), high.toarray().ravel()
    return np.asarray(high > low, dtype=bool)


def _nets(found: list[Trained]) -> pd.DataFrame:
    import pandas as pd

    columns = ("seed", "f1", "accuracy", "validation_f1", "epoch", "effective_genes")
    return pd.DataFrame([{name: each.net.report[name] for name in columns} for each in found])


def _agreement(
    effective: NDArray[np.float64], top: list[set[int]], found: list[Trained]
) -> pd.DataFrame:
    """Overlap of the tops and rank correlation for each pair of nets."""
    import pandas as pd
    from scipy.stats import spearmanr

    rows = [
        {
            "seed": found[a].net.report["seed"],
            "other": found[b].net.report["seed"],
            "top_overlap": len(top[a] & top[b]) / len(top[a]),
            "spearman": float(spearmanr(effective[:, a], effective[:, b]).statistic),
        }
        for a, b in itertools.combinations(range(len(top)), 2)
    ]
    return pd.DataFrame(rows, columns=["seed", "other", "top_overlap", "spearman"])


def _refuse_foreign(adata: AnnData, key: str) -> None:
    if key in adata.uns:  # an earlier result of this tool
        return
    for name in ("effective", "weight", "rank", "stability"):
        if f"{key}_{name}" in adata.var:
            msg = (
                f"`key_added` {key!r} would overwrite adata.var[{key + '_' + name!r}], which is no "
                "result of this tool; give another `key_added`."
            )
            raise ValueError(msg)


def _check_numbers(**numbers: tuple[float, float, str]) -> None:
    for name, (value, least, allowed) in numbers.items():
        number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
        if not number or not np.isfinite(value) or value < least:
            msg = f"`{name}` must be a number, {allowed}; got {value!r}."
            raise ValueError(msg)


def _check_counts(**counts: int | None) -> None:
    for name, value in counts.items():
        whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
        if value is not None and not (whole and value >= 1):
            msg = f"`{name}` must be a whole number of at least 1; got {value!r}."
            raise ValueError(msg)
