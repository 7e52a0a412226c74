"""Inputs that were explained, and all that it takes to ask the model about them again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sensx_sc.core.preparation import read
from sensx_sc.core.sampling import cell_key, uniforms
from sensx_sc.core.walks import place

if TYPE_CHECKING:
    from sensx_sc.core.arrays import Floats, Ints, Rows
    from sensx_sc.core.run import Run
    from sensx_sc.evaluators.protocol import Evaluator


@dataclass(frozen=True)
class Explained:
    """C inputs with an attribution.

    Attributes
    ----------
    run
        Model, domain and numbers of the explanation, made ready once more.
    rows
        The inputs, (C, n).
    keys
        Their names, which key the random numbers.
    target
        Index of each one's explained output, (C,).
    delta_star
        Each one's scale, (C,).
    precision
        Type of rows of each one's walks; empty: the one that the model prefers.
    noise_floor
        Size of the changes of q that rounding alone makes at each one; empty: not known, and none
        is allowed for.
    """

    run: Run
    rows: Rows
    keys: tuple[str | int, ...]
    target: Ints
    delta_star: Floats
    precision: tuple[str, ...] = ()
    noise_floor: tuple[float, ...] = ()

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def evaluator(self) -> Evaluator:
        """The one for the type of rows that the model prefers."""
        return next(iter(self.run.evaluators.values()))

    def evaluator_of(self, i: int) -> Evaluator:
        """The one for the type of rows of the walks of input ``i``."""
        wanted = self.precision[i] if self.precision else ""
        return self.run.evaluators.get(wanted, self.evaluator)

    @property
    def free(self) -> Ints:
        """Indices of the tested features, (F,)."""
        return self.run.domain.free

    def x(self, i: int) -> Floats:
        """Input ``i``, dense, (n,)."""
        found: Floats = read(self.rows[i : i + 1], self.run)[0]
        return found

    def q(self, i: int) -> float:
        """Q of input ``i``."""
        return float(self.evaluator.at(self.x(i)[None], self.target[i : i + 1])[0])

    def fractions(self, i: int, n_draws: int, purpose: str = "perturbation") -> Floats:
        """Uniform numbers of input ``i``, the same whatever they are used for, (n_draws, F)."""
        key, n = cell_key(self.keys[i]), self.run.domain.n_features
        return uniforms(self.run.options.seed, key, purpose, 0, n_draws, n)[:, self.free]

    def endpoints(self, i: int, delta: float, n_draws: int) -> Floats:
        """Random points of the neighbourhood of input ``i`` at a scale, (n_draws, F)."""
        return place(self.fractions(i, n_draws), self.x(i), self.run.domain, delta)

    def scale(self, i: int, scale: float | str) -> float:
        """A scale as a number: that of input ``i`` for ``"delta_star"``."""
        return float(self.delta_star[i]) if scale == STAR else float(scale)


STAR = "delta_star"


def check_scales(scales: object) -> tuple[str | float, ...]:
    """Scales at which features are moved: ``"delta_star"`` or numbers in (0, 1].

    Raises
    ------
    ValueError
        Anything else, or none.
    """
    given = [scales] if isinstance(scales, str | int | float) else scales
    allowed = f"`scales` must hold {STAR!r} or numbers in (0, 1]; got {scales!r}."
    if not isinstance(given, list | tuple | np.ndarray) or not len(given):
        raise ValueError(allowed)
    for scale in given:
        number = isinstance(scale, int | float | np.number) and not isinstance(scale, bool)
        if scale != STAR and not (number and 0 < float(scale) <= 1):
            raise ValueError(allowed)
    found = tuple(scale if scale == STAR else float(scale) for scale in given)
    return tuple(dict.fromkeys(found))
