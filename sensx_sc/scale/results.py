"""What is kept of a block of explained cells, in memory or in a store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sensx_sc.scale.group_means import GroupMeans
from sensx_sc.scale.top import first_by_rank, pick
from sensx_sc.words import ATTRIBUTED, STATUSES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sensx_sc.core.arrays import Bools, Floats, Ints
    from sensx_sc.core.explanation import Explanation

AVERAGED = ("value", "change", "mean", "shapley", "se")
WHOLE = ("rank", "n")  # statistics that are counts: int32, 0 = not tested
_PLAIN = ("cells", "delta_star", "status", "target", "qoi", "deltas", "envelope")
_RACE = ("top_k_certified", "top_k_gap", "n_undecided")
_STABILITY = ("n_walks", "reliability", "overlap", "settled")
_AUDIT: dict[str, Any] = {
    "passed": False,
    "ratio": np.nan,
    "ratio_se": np.nan,
    "spearman": np.nan,
    "top_k_agreement": np.nan,
    "missed_at_most": -1,
    "message": "",
}


@dataclass(frozen=True)
class BlockResult:
    """What is kept of the explanation of some cells.

    Attributes
    ----------
    cells
        Their rows in the AnnData, (C,).
    genes
        The features of each cell that are kept, in the order of their ranks, (C, k), -1 where a
        cell has fewer; None: all.
    arrays
        The statistics asked for, of those features: (C, k), or (C, n); float32, counts int32.
    delta_star, status, target, qoi
        (C,); statuses as positions in ``STATUSES``.
    deltas, envelope
        (K,) and (C, K, 2).
    table
        How sure each cell is: columns of ``.uns[key]["cells"]``, (C,) each.
    groups
        Means over the cells of each explained output.
    """

    cells: Ints
    genes: np.ndarray | None
    arrays: dict[str, np.ndarray]
    delta_star: Floats
    status: Ints
    target: Ints
    qoi: Floats
    deltas: Floats
    envelope: Floats
    table: dict[str, np.ndarray]
    groups: dict[int, GroupMeans]


def condense(
    cells: Ints,
    found: Explanation,
    present: Bools,
    statistics: Iterable[str],
    *,
    keep: int | None = None,
    raced: bool = False,
) -> BlockResult:
    """Keep of an explanation what is asked for.

    Parameters
    ----------
    cells
        Rows of the inputs in the AnnData, (C,).
    present
        Whether each feature, or any of a group, is above its lower bound, (C, n).
    statistics
        Names of the statistics to keep for every cell and feature.
    keep
        Only so many features of each cell; None: all.
    raced
        Whether there was a race for the top k.
    """
    attributed = np.isin(found.status, ATTRIBUTED)
    groups: dict[int, GroupMeans] = {}
    for target in np.unique(found.target[attributed]).tolist():
        rows = attributed & (found.target == target)
        group = groups[target] = GroupMeans(found.value.shape[1])
        group.add({name: getattr(found, name)[rows] for name in AVERAGED}, present[rows])
    arrays = {
        name: getattr(found, name).astype(np.int32 if name in WHOLE else np.float32)
        for name in statistics
    }
    genes = None if keep is None else first_by_rank(found.rank, keep)
    if genes is not None:
        arrays = {name: pick(array, genes) for name, array in arrays.items()}
    return BlockResult(
        cells,
        genes,
        arrays,
        found.delta_star,
        np.array([STATUSES.index(status) for status in found.status], dtype=np.int64),
        found.target,
        found.qoi,
        found.deltas,
        found.envelope,
        _table(found, raced=raced),
        groups,
    )


def _table(found: Explanation, *, raced: bool) -> dict[str, np.ndarray]:
    columns: dict[str, Any] = {
        "certified": found.certified,
        "bracket_low": found.bracket[:, 0],
        "bracket_high": found.bracket[:, 1],
        "endpoint_coverage": found.endpoint_coverage,
        "noise_floor": found.noise_floor,
        "n_below_noise": found.below_noise.sum(axis=1),
        "precision": found.precision,
        "message": found.messages,
    }
    if found.params["estimator"] != "walks":
        columns |= {"estimator": found.estimator, "n_exact": found.exact.sum(axis=1)}
        columns |= {
            f"audit_{name}": [getattr(audit, name, default) for audit in found.audits]
            for name, default in _AUDIT.items()
        }
    if raced:
        columns |= {name: getattr(found, name) for name in _RACE}
    elif found.params["until_stable"]:
        columns |= {name: getattr(found, name) for name in _STABILITY}
    return {name: np.asarray(column) for name, column in columns.items()}


def to_arrays(block: BlockResult) -> dict[str, np.ndarray]:
    """A block as plain named arrays; without statistics of all features, which are too large."""
    flat = {name: getattr(block, name) for name in _PLAIN}
    flat |= {f"table/{name}": column for name, column in block.table.items()}
    for target, group in block.groups.items():
        flat |= {f"group/{target}/{name}": array for name, array in group.to_arrays().items()}
    if block.genes is not None:
        flat |= {"genes": block.genes}
        flat |= {f"kept/{name}": array for name, array in block.arrays.items()}
    return flat


def from_arrays(flat: Mapping[str, np.ndarray]) -> BlockResult:
    """The block that :func:`to_arrays` took apart."""
    of_groups: dict[int, dict[str, np.ndarray]] = {}
    for name, array in _under("group", flat).items():
        target, part = name.split("/", 1)
        of_groups.setdefault(int(target), {})[part] = array
    return BlockResult(
        genes=flat.get("genes"),
        arrays=_under("kept", flat),
        table=_under("table", flat),
        groups={target: GroupMeans.from_arrays(parts) for target, parts in of_groups.items()},
        **{name: flat[name] for name in _PLAIN},
    )


def _under(prefix: str, flat: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    start = f"{prefix}/"
    return {name[len(start) :]: array for name, array in flat.items() if name.startswith(start)}
