"""What the columns of results are, and where each goes in the AnnData."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import sparse

from sensx_sc.slots import COLUMNS, COVARIATES, GENES, GROUPS, WITHIN, Section

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sensx_sc.core.groups import Groups
    from sensx_sc.core.run import Run
    from sensx_sc.scale.run import Job
    from sensx_sc.slots import Spot

FEATURES = ("genes", "features")
"""Names of the finest groups."""


def pick_spots(
    *, obsm: str | None, groups: Any, within: Any, covariates: Any, blocks: bool
) -> list[Spot]:
    """Where results go, from what is asked: features, or groups and what the top ones hold.

    Parameters
    ----------
    blocks
        Whether features of the matrix are one-hot blocks, which are groups.

    Raises
    ------
    ValueError
        ``within`` without ``groups``, or with ``covariates``.
    """
    flat = GENES if obsm is None else COLUMNS
    if groups is None and not blocks:
        if within is not None:
            msg = "`within` needs `groups`: it says what the top groups are taken apart into."
            raise ValueError(msg)
        return [flat] if covariates is None else [flat, COVARIATES]
    if within is None:
        return [GROUPS]
    if covariates is not None:
        msg = "`within` and `covariates` cannot be combined: walk the covariates without `within`."
        raise ValueError(msg)
    return [GROUPS, flat if isinstance(within, str) and within in FEATURES else WITHIN]


def refuse_kept_groups(keep: str, spots: Sequence[Spot]) -> None:
    """Refuse to keep only the first features of each cell where they are not genes alone."""
    if keep != "all" and (GROUPS in spots or COVARIATES in spots):
        msg = (
            f"`keep` {keep!r} keeps the first genes of each cell; with `groups` all are kept, and "
            "so they are with `covariates`."
        )
        raise ValueError(msg)


def place_names(run: Run, features: Sequence[str]) -> tuple[str, ...]:
    """Names of all columns of the results, as files can hold them."""
    named = run.place_names
    if named is None:
        return tuple(features)
    names = storable(named)
    return names if run.within is None else (*names, *storable(run.within.names))


def storable(names: Sequence[str]) -> tuple[str, ...]:
    """Names of sets as names of columns in a file: a slash becomes a dash.

    Raises
    ------
    ValueError
        Two are then the same.

    Examples
    --------
    >>> from sensx_sc.tl._columns import storable
    >>> storable(["T/NK", "B"])
    ('T-NK', 'B')
    """
    found = tuple(name.replace("/", "-") for name in names)
    if len(set(found)) < len(found):
        twice = next(name for name in found if found.count(name) > 1)
        msg = f"two `groups` are named {twice!r} once '/' is replaced by '-', as files need it."
        raise ValueError(msg)
    return found


def make_sections(
    run: Run, spots: Sequence[Spot], names: tuple[str, ...], n_matrix: int
) -> tuple[Section, ...]:
    """Which columns of the results go to each spot.

    Parameters
    ----------
    names
        As :func:`place_names` gives them.
    n_matrix
        Features of the matrix that is explained: what follows are covariates.
    """
    first = n_matrix if COVARIATES in spots else run.n_coarse
    edges = [0, first, len(names)] if len(spots) == 2 else [0, len(names)]
    plain = (GENES, COLUMNS)
    return tuple(
        Section(spot, start, stop, None if spot in plain else names[start:stop])
        for spot, start, stop in zip(spots, edges[:-1], edges[1:], strict=True)
    )


def group_tables(run: Run, job: Job) -> dict[str, pd.DataFrame]:
    """What groups are: ``groups`` (names, n_features), and ``members``, a row a group and feature.

    Where the top ones were taken apart into other groups, these have tables of their own.
    """
    groups, n = run.domain.groups, run.n_features
    if groups is None:
        raise AssertionError
    held = _holds(groups, n)
    if run.sets is not None:
        held = run.sets.share @ held
    found = _tables(held, job.names[: run.n_coarse], job.features)
    if run.within is not None and job.sections[-1].spot == WITHIN:
        finer = _tables(_holds(run.within, n), job.names[run.n_coarse :], job.features)
        found |= {f"{name}_within": table for name, table in finer.items()}
    return found


def _holds(groups: Groups, n: int) -> sparse.csr_matrix[Any]:
    """Which of the first n features each group has, (G, n)."""
    label = groups.label[:n]
    feature = np.flatnonzero(label >= 0)
    shape = (len(groups.names), n)
    return sparse.csr_matrix((np.ones(len(feature)), (label[feature], feature)), shape=shape)


def _tables(
    held: sparse.csr_matrix[Any], names: Sequence[str], features: Sequence[str]
) -> dict[str, pd.DataFrame]:
    group, feature = held.nonzero()
    order = np.lexsort((feature, group))
    group, feature = group[order], feature[order]
    titles, own = np.asarray(names, dtype=object), np.asarray(features, dtype=object)
    size = np.bincount(group, minlength=len(titles))
    return {
        "groups": pd.DataFrame({"names": titles, "n_features": size}),
        "members": pd.DataFrame({"group": titles[group], "names": own[feature]}),
    }
