"""What an evaluator does: the response q in neighbourhoods and along walks.

The method asks for nothing else of a model. An evaluator that knows the structure of a model may
compute less, but must return the numbers of :class:`~sensx_sc.evaluators.dense.DenseEvaluator`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sensx_sc.evaluators.walk_set import WalkSet

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]


class Evaluator(Protocol):
    """q at rows, in the neighbourhoods of an input, and along walks.

    Attributes
    ----------
    name
        For messages.
    dtype
        Floating-point type of the rows that the model is given.
    rows
        How many rows the model is given at once.
    parallel
        Whether calls may overlap in threads: never for a model whose inside is unknown.
    """

    name: str
    dtype: np.dtype[np.floating]
    parallel: bool

    @property
    def rows(self) -> int: ...

    def walks_together(self, n_steps: int) -> int:
        """How many walks of so many steps :meth:`walks` is best given at once."""
        ...

    def alive(self, free: Ints) -> NDArray[np.bool_]:
        """Which of some features the model may read: the others are provably without effect."""
        ...

    def complete_rows(self, free: Ints, n_walks: int, n_points: int) -> int:
        """How many complete rows the model is given for walks over some features and a sweep."""
        ...

    def outputs(self, x: Floats) -> Floats:
        """The model's outputs (B, K) for rows (B, n)."""
        ...

    def at(self, x: Floats, target: Ints) -> Floats:
        """Q of rows (B, n), each for its own target (B,); returns (B,)."""
        ...

    def sweep(
        self, x: Floats, target: int, free: Ints, down: Floats, up: Floats, u: Floats
    ) -> Floats:
        """Q at points of K neighbourhoods of one input.

        The point for scale k and fractions u is x - down[k] + u (down[k] + up[k]) on the F
        features ``free``, and x elsewhere.

        Parameters
        ----------
        x
            The input, (n,).
        down, up
            Reach of each scale, (K, F).
        u
            Fractions in [0, 1), (S, F), the same for all scales.

        Returns
        -------
        (K, S)
        """
        ...

    def walks(self, walks: WalkSet) -> Floats:
        """Q after each step of W walks.

        Returns
        -------
        (W, S): column k is q once the first k + 1 features, or groups, of the order have changed.
        """
        ...

    def steps(self, walks: WalkSet, chosen: Ints) -> Floats:
        """Change of q at the steps of some features, or groups, and of no others.

        Parameters
        ----------
        chosen
            Which, (U,), each once: positions into ``walks.free``, or groups.

        Returns
        -------
        (W, U): q just after the step less q just before it.
        """
        ...

    def one_at_a_time(
        self, x: Floats, target: Ints, cell: Ints, features: Ints, values: Floats
    ) -> Floats:
        """Q of inputs with one feature moved at a time.

        Parameters
        ----------
        x, target
            Inputs (C, n) and their targets (C,).
        cell, features
            Which input and which of its features moves, (W,) each; no pair twice.
        values
            What it is given while all others stay, (W, M).

        Returns
        -------
        (W, M)
        """
        ...
