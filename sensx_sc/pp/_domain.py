"""``sx.pp.domain``: the admissible range of every gene."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sensx_sc.core.domain import make_domain
from sensx_sc.logger import logger
from sensx_sc.pp._selection import LOG1P_CP10K, check_adata, pick_bounds, pick_mask, pick_matrix
from sensx_sc.slots import check_key, in_place

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import ArrayLike


def domain(
    adata: AnnData,
    *,
    lower: ArrayLike | str | None = None,
    upper: ArrayLike | str | None = None,
    layer: str | None = None,
    mask_obs: ArrayLike | str | None = None,
    key_added: str = "sensx",
) -> None:
    """Set the domain that :func:`sensx_sc.tl.sensx` perturbs genes in (equation 1).

    Parameters
    ----------
    adata
        Annotated data.
    lower, upper
        A number, an array of shape (n_vars,), the name of a column of ``adata.var``, or
        ``"log1p_cp10k"`` for 0 and log(1 + 10,000), what counts normalised to 10,000 a cell and
        log-transformed can reach. None: each gene's smallest and largest value, in expression
        units; if only the other is ``"log1p_cp10k"``, that one's counterpart.
    layer
        Take the values from this layer instead of ``adata.X``.
    mask_obs
        Cells whose values count: bool array (n_obs,) or column of ``adata.obs``.
    key_added
        Prefix of the columns.

    Returns
    -------
    None; writes

    - ``adata.var[f"{key_added}_lower"]``, ``adata.var[f"{key_added}_upper"]``: float64 bounds.
      Genes with equal bounds are never perturbed: their values will be NaN, "not tested".

    Raises
    ------
    ValueError
        ``lower`` above ``upper``, bounds that are not finite, wrong shapes, NaN in the data.
    KeyError
        No such layer or column.

    Examples
    --------
    >>> import sensx_sc as sx
    >>> adata = sx.datasets.toy()
    >>> sx.pp.domain(adata, lower=0, upper="log1p_cp10k")
    >>> float(adata.var["sensx_upper"].iloc[0].round(2))
    9.21

    References
    ----------
    Aggarwal, Cogan, Periwal, SensX, TMLR 2026, equation 1.
    """
    check_adata(adata)
    check_key(key_added)
    if isinstance(upper, str) and upper == LOG1P_CP10K and lower is None:
        lower = LOG1P_CP10K
    if isinstance(lower, str) and lower == LOG1P_CP10K and upper is None:
        upper = LOG1P_CP10K
    matrix = pick_matrix(adata, layer=layer)
    cells = pick_mask(mask_obs, adata.obs, adata.obs_names, "mask_obs")
    low, high, source = pick_bounds(lower, upper, adata.var, matrix, cells)
    checked = make_domain(low, high, adata.n_vars, names=matrix.names)
    constant = np.flatnonzero(~checked.tested)
    in_place(adata)
    adata.var[f"{key_added}_lower"] = checked.lower
    adata.var[f"{key_added}_upper"] = checked.upper
    logger.info(
        "domain: added .var['%s_lower'] and .var['%s_upper'] (%s).", key_added, key_added, source
    )
    if constant.size:
        shown = ", ".join(matrix.names[j] for j in constant[:5])
        logger.info(
            "domain: %d genes have equal bounds and will not be tested: %s%s.",
            constant.size,
            shown,
            ", ..." if constant.size > 5 else "",
        )
