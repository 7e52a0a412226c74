"""Cells as counts and as what a model reads of them, and properties that are measured on both."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from sensx_sc.companions.significance import expression_bins
from sensx_sc.core.arrays import dense, is_sparse

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sensx_sc.core.arrays import Floats, Ints, Rows

_LOG_ROUNDING = 1e-3  # relative difference between X and log1p of scaled counts
_BYTES_AT_ONCE = 2**26


class States(NamedTuple):
    """Edited versions of one cell.

    Attributes
    ----------
    x
        What the model reads, (S, R, n): S steps, R replicates.
    counts
        Counts behind it, (S, R, n).
    total
        Counts of all genes, also of those that are not among the n, (S, R).
    """

    x: Floats
    counts: Floats
    total: Floats


class Property(Protocol):
    """Something that can be measured of cells."""

    @property
    def name(self) -> str: ...

    def __call__(self, states: States) -> Floats:
        """The property of states, (S, R)."""
        ...


@dataclass(frozen=True)
class Population:
    """Cells with x = log1p(factor * counts), or x = counts.

    Attributes
    ----------
    genes
        Names, (n,).
    counts
        (C, n), CSR or dense; where none were given, expm1 of x.
    factor
        From counts to normalised expression, (C,).
    total
        Counts of a cell, also of genes that are not among the n, (C,).
    log
        Whether the model reads log1p(factor * counts), else counts.
    whole
        Whether counts are whole numbers, so that they can be thinned.
    keys
        Names of the cells: random edits of a cell depend on it and the seed alone.
    labels
        Columns that edits may refer to, (C,) each.
    seed
        Seed of all random edits.
    """

    genes: tuple[str, ...]
    counts: Rows
    factor: Floats
    total: Floats
    log: bool
    whole: bool
    keys: tuple[str, ...]
    labels: Mapping[str, np.ndarray] = field(default_factory=dict)
    seed: int = 0

    @property
    def n_cells(self) -> int:
        return len(self.factor)

    @cached_property
    def index(self) -> dict[str, int]:
        """Position of each gene."""
        return {name: j for j, name in enumerate(self.genes)}

    def find(self, genes: Any, name: str) -> Ints:
        """Positions of genes; those that are not there are left out.

        Raises
        ------
        ValueError
            None of them is there.
        """
        wanted = [genes] if isinstance(genes, str) else list(genes)
        found = np.array([self.index[g] for g in wanted if g in self.index], dtype=np.int64)
        if not len(found):
            shown = ", ".join(map(repr, wanted[:5]))
            msg = f"`{name}`: none of the {len(wanted)} genes ({shown}) is among the data's."
            raise ValueError(msg)
        return found

    def label(self, column: str) -> np.ndarray:
        """A column of labels."""
        if column not in self.labels:
            there = ", ".join(map(repr, self.labels)) or "none"
            msg = f"{column!r} is no column of labels; there are: {there}."
            raise KeyError(msg)
        return self.labels[column]

    def of(self, cell: int) -> States:
        """One cell as it is, (1, 1, n)."""
        counts = dense(self.counts[cell : cell + 1])
        return self.open(cell, counts[None])

    def open(self, cell: int, counts: Floats) -> States:
        """Edited counts (S, R, n) with the cell's own size factor: other genes do not change."""
        total = self.total[cell] + (counts.sum(axis=-1) - self._of_genes[cell])
        x = np.log1p(self.factor[cell] * counts) if self.log else counts
        return States(x, counts, total)

    def closed(self, cell: int, counts: Floats, total: Floats | None = None) -> States:
        """Edited counts (S, R, n) normalised anew: what one gene gains the others lose."""
        states = self.open(cell, counts)
        new = states.total if total is None else total
        if not self.log:
            return States(states.x, counts, new)
        # A cell that has lost all its counts expresses nothing.
        scale = self.factor[cell] * self.total[cell] / np.where(new > 0, new, np.inf)
        return States(np.log1p(scale[..., None] * counts), counts, new)

    def composed(self, composition: str, cell: int, counts: Floats) -> States:
        """Edited counts (S, R, n) by either rule, ``"open"`` or ``"closed"``."""
        return self.closed(cell, counts) if composition == "closed" else self.open(cell, counts)

    def shifted(self, cell: int, x: Floats) -> States:
        """Edited model inputs (S, R, n), no value below zero, with the counts that give them."""
        x = np.maximum(x, 0.0)
        counts = np.expm1(x) / self.factor[cell] if self.log else x
        return self.open(cell, counts)._replace(x=x)

    def blocks(self) -> Iterator[tuple[slice, States]]:
        """All cells, some at a time, (C', 1, n)."""
        together = max(1, _BYTES_AT_ONCE // (8 * len(self.genes)))
        for start in range(0, self.n_cells, together):
            part = slice(start, min(start + together, self.n_cells))
            counts = dense(self.counts[part])
            x = np.log1p(self.factor[part, None] * counts) if self.log else counts
            yield part, States(x[:, None], counts[:, None], self.total[part, None])

    @cached_property
    def _of_genes(self) -> Floats:
        """Counts of the n genes of each cell, (C,)."""
        return np.asarray(self.counts.sum(axis=1), dtype=np.float64).ravel()

    @cached_property
    def moments(self) -> tuple[Floats, Floats]:
        """Mean and standard deviation of x over the cells, (n,) each."""
        n = len(self.genes)
        mean = np.zeros(n)
        for _, states in self.blocks():
            mean += states.x.sum(axis=(0, 1)) / self.n_cells
        variance = np.zeros(n)
        for _, states in self.blocks():
            variance += ((states.x - mean) ** 2).sum(axis=(0, 1)) / self.n_cells
        return mean, np.sqrt(variance)

    @cached_property
    def largest(self) -> Floats:
        """Largest x of each gene, (n,)."""
        top = np.zeros(len(self.genes))
        for _, states in self.blocks():
            top = np.maximum(top, states.x.max(axis=(0, 1)))
        return top

    @cached_property
    def profile(self) -> Floats:
        """Share of each gene in the counts of all cells together, (n,)."""
        total = np.asarray(self.counts.sum(axis=0), dtype=np.float64).ravel()
        return np.asarray(total / total.sum(), dtype=np.float64)

    @cached_property
    def bins(self) -> Ints:
        """Expression bin of each gene."""
        return expression_bins(self.moments[0])

    def measured(self, prop: Property) -> Floats:
        """A property of all cells, (C,)."""
        found = np.empty(self.n_cells)
        for part, states in self.blocks():
            found[part] = prop(states)[:, 0]
        return found


def make_population(
    x: Rows,
    counts: Rows | None,
    genes: tuple[str, ...],
    keys: tuple[str, ...],
    labels: Mapping[str, np.ndarray],
    seed: int,
) -> Population:
    """Find out how the model's input comes from the counts.

    Parameters
    ----------
    x
        What the model reads, (C, n): log1p of counts scaled per cell, or counts.
    counts
        Counts, (C, n), or None: expm1(x) stands for them.

    Raises
    ------
    ValueError
        Neither, with the largest deviation.
    """
    csr = x.tocsr() if is_sparse(x) else np.asarray(x)
    stored: Any = csr.data if is_sparse(csr) else csr
    if stored.size and stored.min() < 0:
        msg = (
            "the model's input has negative values (is it scaled?); edits of counts need "
            "log-normalised expression or counts. Let the model do the scaling, as a layer or in "
            "a Pipeline."
        )
        raise ValueError(msg)
    n_cells = csr.shape[0]
    if counts is None:
        behind = np.expm1(csr.astype(np.float64))  # of a sparse matrix, too: zeros stay zeros
        total = np.asarray(behind.sum(axis=1), dtype=np.float64).ravel()
        ones = np.ones(n_cells)
        return Population(genes, behind, ones, total, True, False, keys, labels, seed)  # noqa: FBT003
    raw = counts.tocsr() if is_sparse(counts) else np.asarray(counts)
    values: Any = raw.data if is_sparse(raw) else raw
    whole = bool(np.array_equal(values, np.rint(values)))
    same = _same(csr, raw)
    factor = np.ones(n_cells) if same else _factors(csr, raw)
    of_genes = np.asarray(raw.sum(axis=1), dtype=np.float64).ravel()
    total = of_genes if same else np.maximum(_target_sum(factor, of_genes) / factor, of_genes)
    return Population(genes, raw, factor, total, not same, whole, keys, labels, seed)


def _same(x: Rows, counts: Rows) -> bool:
    if is_sparse(x) or is_sparse(counts):
        off = abs(x - counts)
        return float(off.max()) == 0.0
    return bool(np.array_equal(x, counts))


def _factors(x: Rows, counts: Rows) -> Floats:
    """Size factor of each cell, such that x = log1p(factor * counts), (C,)."""
    factor = np.ones(x.shape[0])
    for i in range(x.shape[0]):
        row, raw = dense(x[i : i + 1])[0], dense(counts[i : i + 1])[0]
        there = raw > 0
        if not there.any():
            continue
        scaled = np.expm1(row)
        factor[i] = np.median(scaled[there] / raw[there])
        off = np.abs(scaled - factor[i] * raw).max() / max(scaled.max(), 1e-12)
        if off > _LOG_ROUNDING:
            msg = (
                f"the model's input is not log1p of the counts scaled per cell: in cell {i} they "
                f"differ by {off:.2g} of the largest value. Pass the counts that it was made from, "
                "or counts=None to edit the log-normalised values themselves."
            )
            raise ValueError(msg)
    return factor


def _target_sum(factor: Floats, of_genes: Floats) -> float:
    """What counts were scaled to: 10,000 if that is possible, else the largest scaled sum."""
    scaled = factor * of_genes
    return 1e4 if scaled.max() <= 1e4 * (1 + _LOG_ROUNDING) else float(scaled.max())


# ------------------------------------------------------------------ properties of any cell


class LogTotal:
    """log10 of the counts of a cell."""

    name = "log10 counts"

    def __call__(self, states: States) -> Floats:
        return np.asarray(np.log10(np.maximum(states.total, 1.0)), dtype=np.float64)


class Detected:
    """Number of genes with any count."""

    name = "genes detected"

    def __call__(self, states: States) -> Floats:
        # Less than a tenth of a count is none.
        return np.asarray((states.counts >= 0.1).sum(axis=-1), dtype=np.float64)


@dataclass(frozen=True)
class ShareOf:
    """Share of a class of genes in the counts of a cell."""

    name: str
    members: Ints

    def __call__(self, states: States) -> Floats:
        part = states.counts[..., self.members].sum(axis=-1)
        return np.asarray(part / np.maximum(states.total, np.finfo(float).tiny), dtype=np.float64)


@dataclass(frozen=True)
class Score:
    """Weighted mean z-score of some genes, less the mean z-score of control genes."""

    name: str
    members: Ints
    weights: Floats
    controls: Ints
    mean: Floats
    deviation: Floats

    def __call__(self, states: States) -> Floats:
        score = self._z(states.x, self.members) @ (self.weights / np.abs(self.weights).sum())
        if len(self.controls):
            score = score - self._z(states.x, self.controls).mean(axis=-1)
        return np.asarray(score, dtype=np.float64)

    def _z(self, x: Floats, genes: Ints) -> Floats:
        deviation = self.deviation[genes]
        z = (x[..., genes] - self.mean[genes]) / np.where(deviation > 0, deviation, 1.0)
        return np.where(deviation > 0, z, 0.0)


@dataclass(frozen=True)
class LinearModelT:
    """t-value of the slope of a cell's z-scores on the weights of all genes (ULM)."""

    name: str
    weights: Floats
    mean: Floats
    deviation: Floats

    def __call__(self, states: States) -> Floats:
        varies = self.deviation > 0
        z = (states.x[..., varies] - self.mean[varies]) / self.deviation[varies]
        w = self.weights[varies] - self.weights[varies].mean()
        z = z - z.mean(axis=-1, keepdims=True)
        size = np.sqrt((z**2).sum(axis=-1) * (w**2).sum())
        r = z @ w / np.where(size > 0, size, 1.0)
        t = r * np.sqrt((varies.sum() - 2) / np.maximum(1 - r**2, np.finfo(float).tiny))
        return np.asarray(t, dtype=np.float64)
