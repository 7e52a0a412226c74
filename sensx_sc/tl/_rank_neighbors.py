"""``sx.tl.rank_neighbors``: which cells are alike in what matters to the model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from sensx_sc.get._columns import check_statistic, columns_of, layer_prefix
from sensx_sc.get._stored import (
    attributed,
    check_count,
    check_stored,
    read_rows,
    require_all,
)
from sensx_sc.logger import logger
from sensx_sc.metrics.rank_distances import fuzzy_graph, nearest, rank_profiles
from sensx_sc.pp._selection import check_adata, pick_mask
from sensx_sc.slots import check_free, put
from sensx_sc.words import RANK_BY

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import ArrayLike, NDArray

    from sensx_sc.core.arrays import Floats, Ints
    from sensx_sc.metrics.rank_distances import MetricName
    from sensx_sc.words import RankBy

_MOST_CELLS = 50_000


def rank_neighbors(
    adata: AnnData,
    *,
    rank_by: RankBy | None = None,
    metric: MetricName = "savage",
    top_k: int = 100,
    n_neighbors: int = 15,
    mask_obs: ArrayLike | str | None = None,
    key: str = "sensx",
    key_added: str | None = None,
) -> None:
    """Neighbours of cells by the distance between their rankings of genes.

    Cells are near each other where the same genes rank first, however different their expression.
    The graph is stored as :func:`scanpy.pp.neighbors` stores its own, so ``sc.tl.umap``,
    ``sc.tl.leiden`` and the rest run on it with ``neighbors_key=key_added``.

    Parameters
    ----------
    adata
        Data with the results of :func:`sensx_sc.tl.sensx`.
    rank_by
        ``"value"``, ``"change"``, ``"mean"`` or ``"shapley"`` (by size); None: as stored.
    metric
        ``"savage"``: top-weighted correlation (Iman and Conover 1987), ``"spearman"``: rank
        correlation over all genes, ``"overlap"``: share of the top genes in common. Distances are
        1 minus these.
    top_k
        Genes that ``"overlap"`` looks at.
    n_neighbors
        Neighbours of a cell, itself included, as scanpy counts them.
    mask_obs
        Cells to join, of those with an attribution: bool array or name of a column. All others
        have no neighbours; for an embedding take ``adata[mask].copy()`` first.
    key, key_added
        ``key_added`` of the results; key to write, None = ``f"{key}_neighbors"``.

    Returns
    -------
    None; writes

    - ``adata.obsp[f"{key_added}_distances"]``: CSR (n_obs, n_obs), each row its neighbours;
    - ``adata.obsp[f"{key_added}_connectivities"]``: CSR, symmetric: UMAP's fuzzy union;
    - ``adata.uns[key_added]``: ``connectivities_key``, ``distances_key``, ``params``.

    Raises
    ------
    KeyError
        No results under `key`, or a statistic that was not stored.
    ValueError
        Wrong numbers, or fewer attributed cells than neighbours.

    Examples
    --------
    >>> import sensx_sc as sx
    >>> adata = sx.datasets.toy()
    >>> net = sx.models.fit_mlp(adata, "cell_type", hidden=(16,), epochs=20, progress=False)
    >>> sx.tl.sensx(adata, net, n_walks=20, n_samples=400, progress=False)
    >>> sx.tl.rank_neighbors(adata, n_neighbors=5)
    >>> adata.obsp["sensx_neighbors_connectivities"].shape
    (60, 60)

    References
    ----------
    Iman and Conover, Technometrics 29 (1987) 351-357; McInnes et al., arXiv:1802.03426.
    """
    check_adata(adata)
    prefix = layer_prefix(adata, key)
    require_all(adata, prefix, f"key={key!r}: distances between rankings take")
    check_count(n_neighbors, "n_neighbors")
    check_count(top_k, "top_k")
    added = f"{key}_neighbors" if key_added is None else key_added
    check_free(adata, added, "rank_neighbors")
    by = check_stored(adata, prefix)["params"]["rank_by"] if rank_by is None else rank_by
    layer = check_statistic(adata, columns_of(adata, key), by, argument="rank_by", allowed=RANK_BY)
    rank_profiles(np.ones((1, 2)), metric)  # an unknown metric is refused before the work
    chosen = pick_mask(mask_obs, adata.obs, adata.obs_names, "mask_obs")
    rows = np.flatnonzero(chosen & attributed(adata, prefix))
    if n_neighbors < 2 or len(rows) < n_neighbors:
        msg = (
            f"`n_neighbors` must be from 2 to the number of attributed cells, {len(rows)}; got "
            f"{n_neighbors}."
        )
        raise ValueError(msg)
    if len(rows) > _MOST_CELLS:
        logger.info(
            "rank_neighbors: all pairs of %d cells are compared; a sample of them "
            "(`mask_obs`) would be quicker.",
            len(rows),
        )

    def read(part: slice) -> NDArray[np.float32]:
        return rank_profiles(read_rows(adata.layers[layer], rows[part]), metric, top_k)

    index, distance = nearest(read, len(rows), adata.n_vars, n_neighbors)
    names = {part: f"{added}_{part}" for part in ("connectivities", "distances")}
    params: dict[str, Any] = {
        "n_neighbors": n_neighbors,
        "method": "umap",
        "metric": metric,
        "random_state": 0,
        "use_rep": "X",
        "rank_by": by,
        "top_k": top_k,
        "source": prefix,
    }
    keys = {f"{part}_key": name for part, name in names.items()}
    graph = fuzzy_graph(index, distance, len(rows))
    put(adata, added, "rank_neighbors", params, keys)
    adata.obsp[names["connectivities"]] = _spread(graph, rows, adata.n_obs)
    adata.obsp[names["distances"]] = _spread(_sparse(index, distance), rows, adata.n_obs)
    if len(rows) < adata.n_obs:
        logger.info(
            "rank_neighbors: %d of %d cells have no attribution (or were not asked for) and no "
            "neighbours; adata[mask].copy() leaves them out of an embedding.",
            adata.n_obs - len(rows),
            adata.n_obs,
        )
    logger.info("rank_neighbors: added .obsp[%r], .obsp[%r], .uns[%r].", *names.values(), added)


def _sparse(index: Ints, distance: Floats) -> sparse.csr_matrix:
    """Each row its neighbours, without itself."""
    n, k = index.shape
    rows = np.repeat(np.arange(n), k - 1)
    return sparse.csr_matrix((distance[:, 1:].ravel(), (rows, index[:, 1:].ravel())), shape=(n, n))


def _spread(graph: sparse.csr_matrix, rows: Ints, n_obs: int) -> sparse.csr_matrix:
    """The graph of some cells as one of all."""
    found = graph.tocoo()
    return sparse.csr_matrix((found.data, (rows[found.row], rows[found.col])), shape=(n_obs, n_obs))
