"""Edits of what a cell's counts are made of: how many, of which classes, from where."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from sensx_sc.companions.editors.edit import (
    N_STEPS,
    Edit,
    check_replicates,
    check_steps,
    generator,
    places_within_bins,
    where_unedited,
)
from sensx_sc.companions.population import LogTotal, ShareOf
from sensx_sc.companions.significance import stand_ins

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sensx_sc.companions.population import Population, States
    from sensx_sc.core.arrays import Floats, Ints


@dataclass(frozen=True)
class LibrarySize:
    """Sequence a cell less deeply: nested binomial thinning of its counts.

    Every molecule has one uniform number and is kept at depth p if that is below p, so that the
    depths of a path are nested; the cell is then normalised anew. Measured is log10 of the counts.
    There is no placebo: every gene takes part.

    Parameters
    ----------
    fractions
        Depths; by default 41 from 1 to 0.1.
    replicates
        Thinnings of each cell.

    Examples
    --------
    >>> import sensx_sc as sx
    >>> sx.companions.LibrarySize().replicates
    8
    """

    fractions: Sequence[float] | None = None
    replicates: int = 8

    def bind(self, population: Population, name: str) -> Edit:
        check_replicates(self.replicates)
        steps = check_steps(self.fractions, "fractions", np.linspace(1, 0.1, N_STEPS), 1e-6, 1)
        if not population.whole:
            msg = (
                "LibrarySize thins molecules: it needs whole counts. Name their layer with "
                "`counts`."
            )
            raise ValueError(msg)

        def states(cell: int, _: int) -> States:
            thinned, total = _thinned(population, name, cell, steps, self.replicates)
            return population.closed(cell, thinned, total)

        prop = LogTotal()
        return Edit(
            name,
            "log10 counts",
            "share of the molecules",
            steps,
            where_unedited(steps, 1.0),
            states,
            lambda found, _, __: prop(found),
            prop,
            has_placebo=False,
        )


def _thinned(
    population: Population, name: str, cell: int, fractions: Floats, replicates: int
) -> tuple[Floats, Floats]:
    """Counts (S, R, n) and totals (S, R) at each depth."""
    own = population.of(cell)
    counts = np.rint(own.counts[0, 0]).astype(np.int64)
    n = len(counts)
    # Genes that are not among the n are thinned as one.
    rest = max(int(np.rint(population.total[cell])) - int(counts.sum()), 0)
    gene = np.repeat(np.arange(n + 1), np.append(counts, rest))
    rng = generator(population, "thinning", name, population.keys[cell])
    found = np.empty((len(fractions), replicates, n + 1))
    for r in range(replicates):
        u = rng.random(len(gene))
        for k, fraction in enumerate(fractions):
            kept = gene if fraction >= 1 else gene[u < fraction]
            found[k, r] = np.bincount(kept, minlength=n + 1)
    return found[..., :n], found.sum(axis=-1)


@dataclass(frozen=True)
class Share:
    """Change the share of a class of genes, such as mitochondrial ones, at fixed total counts.

    The class is scaled to each share and all other genes to the rest. A cell without any count of
    the class gets it in the population's proportions. Placebo: as many genes of like expression.

    Parameters
    ----------
    genes
        Names, or a prefix such as ``"MT-"``.
    shares
        By default 41 from 0 to 0.5.

    Examples
    --------
    >>> import sensx_sc as sx
    >>> sx.companions.Share("MT-").genes
    'MT-'
    """

    genes: Sequence[str] | str = "MT-"
    shares: Sequence[float] | None = None

    def bind(self, population: Population, name: str) -> Edit:
        steps = check_steps(self.shares, "shares", np.linspace(0, 0.5, N_STEPS), 0, 1)
        wanted = [self.genes] if isinstance(self.genes, str) else list(self.genes)
        if isinstance(self.genes, str):
            prefix = self.genes
            wanted = [name for name in population.genes if name.startswith(prefix)] or wanted
        members = population.find(wanted, "genes")

        @cache
        def of(placebo: int) -> Ints:
            if placebo == 0:
                return members
            rng = generator(population, "placebo", name, placebo)
            return stand_ins(members, population.bins, rng)

        def states(cell: int, placebo: int) -> States:
            genes = of(placebo)
            own = population.of(cell)
            part = own.counts[0, 0, genes]
            total = population.total[cell]
            share = part.sum() / max(total, 1e-300)
            profile = part / part.sum() if share > 0 else _profile(population, genes)
            rest = (1 - steps) / (1 - share) if share < 1 else np.ones(len(steps))
            counts = own.counts * rest[:, None, None]
            counts[:, 0, genes] = steps[:, None] * total * profile
            return population.closed(cell, counts, np.full((len(steps), 1), total))

        return Edit(
            name,
            "share of counts",
            "share of counts",
            steps,
            None,
            states,
            lambda found, _, placebo: ShareOf(name, of(placebo))(found),
            ShareOf(name, members),
            has_placebo=True,
        )


def _profile(population: Population, genes: Ints) -> Floats:
    """Proportions of some genes over all cells; equal ones where none has a count."""
    whole = population.profile[genes]
    if whole.sum() > 0:
        return np.asarray(whole / whole.sum(), dtype=np.float64)
    return np.full(len(genes), 1 / len(genes))


@dataclass(frozen=True)
class AmbientRNA:
    """Mix a cell with the soup: counts (1 - rho) c + rho n a.

    Placebo: the same profile with genes of like expression in each other's places.

    Parameters
    ----------
    profile
        Share of each gene in the soup, (n_vars,), for example from empty droplets; by default that
        of all cells together.
    rho
        By default 41 from 0 to 0.5.

    Examples
    --------
    >>> import sensx_sc as sx
    >>> sx.companions.AmbientRNA(rho=[0, 0.1, 0.2]).rho
    [0, 0.1, 0.2]
    """

    profile: Sequence[float] | None = None
    rho: Sequence[float] | None = None

    def bind(self, population: Population, name: str) -> Edit:
        steps = check_steps(self.rho, "rho", np.linspace(0, 0.5, N_STEPS), 0, 1)
        soup = population.profile if self.profile is None else np.asarray(self.profile, float)
        n = len(population.genes)
        if soup.shape != (n,) or not np.isfinite(soup).all() or soup.min() < 0 or not soup.any():
            msg = f"`profile` must hold {n} numbers, none negative, not all zero; got {soup!r}."
            raise ValueError(msg)
        soup = soup / soup.sum()
        moved = places_within_bins(population, name)

        def states(cell: int, placebo: int) -> States:
            own = population.of(cell)
            mixed = soup if placebo == 0 else soup[moved(placebo)]
            n_counts = own.counts.sum()
            counts = (1 - steps)[:, None, None] * own.counts
            counts = counts + steps[:, None, None] * n_counts * mixed
            return population.closed(cell, counts)

        return Edit(
            name,
            "share of soup",
            "share of soup",
            steps,
            where_unedited(steps, 0.0),
            states,
            lambda *_: steps[:, None],
            None,
            has_placebo=True,
        )


@dataclass(frozen=True)
class Doublet:
    """Put a second cell into the droplet: counts c + lambda c'.

    Placebo: the second cell's counts with genes of like expression in each other's places.

    Parameters
    ----------
    groupby, partner
        The second cell is of this group of this column.
    shares
        Values of lambda; by default 41 from 0 to 1.
    replicates
        Second cells drawn for each cell.

    Examples
    --------
    >>> import sensx_sc as sx
    >>> sx.companions.Doublet("cell_type", "Monocytes").replicates
    8
    """

    groupby: str
    partner: str
    shares: Sequence[float] | None = None
    replicates: int = 8

    def bind(self, population: Population, name: str) -> Edit:
        check_replicates(self.replicates)
        steps = check_steps(self.shares, "shares", np.linspace(0, 1, N_STEPS), 0, 10)
        donors = cells_of(population, self.groupby, self.partner, "partner")
        moved = places_within_bins(population, name)

        def states(cell: int, placebo: int) -> States:
            own = population.of(cell)
            rng = generator(population, "donors", name, population.keys[cell])
            drawn = rng.choice(donors, self.replicates)
            second = np.concatenate([population.of(int(d)).counts[0] for d in drawn])
            if placebo:
                second = second[:, moved(placebo)]
            counts = own.counts + steps[:, None, None] * second
            total = population.total[cell] + steps[:, None] * population.total[drawn]
            return population.closed(cell, counts, total)

        return Edit(
            name,
            "share of a second cell",
            "share of a second cell",
            steps,
            where_unedited(steps, 0.0),
            states,
            lambda *_: np.repeat(steps[:, None], self.replicates, axis=1),
            None,
            has_placebo=True,
        )


def cells_of(population: Population, column: str, group: str, name: str) -> Ints:
    """The cells of a group.

    Raises
    ------
    KeyError
        No such column.
    ValueError
        No such group, naming those that are there.
    """
    labels = population.label(column).astype(str)
    found: Ints = np.flatnonzero(labels == str(group))
    if not len(found):
        there = ", ".join(map(repr, np.unique(labels)[:20].tolist()))
        msg = f"`{name}` {group!r} is no group of {column!r}; there are: {there}."
        raise ValueError(msg)
    return found
