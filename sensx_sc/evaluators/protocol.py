"""What an evaluator does: the response q in neighbourhoods and along walks.

The method asks for nothing else of a model. An evaluator that knows the structure of a model may
compute less, but must return the numbers of :class:`~sensx_sc.evaluators.dense.DenseEvaluator`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

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

    def walks(
        self,
        x: Floats,
        target: Ints,
        q_x: Floats,
        cell: Ints,
        free: Ints,
        endpoint: Floats,
        order: Ints,
    ) -> Floats:
        """Q after each step of W walks.

        Parameters
        ----------
        x, target, q_x
            Inputs (C, n), their targets (C,) and their responses (C,).
        cell
            Which input each walk starts from, (W,).
        free
            The F features that change, indices into n.
        endpoint
            Values of those features at the end of each walk, (W, F).
        order
            Positions into ``free`` in the order in which they change, (W, F).

        Returns
        -------
        (W, F): column k is q once the first k + 1 features of the order have changed.
        """
        ...

    def steps(
        self,
        x: Floats,
        target: Ints,
        cell: Ints,
        free: Ints,
        endpoint: Floats,
        order: Ints,
        chosen: Ints,
    ) -> Floats:
        """Change of q at the steps of some features, and of no others.

        Parameters
        ----------
        chosen
            Positions into ``free``, (U,), each once; the rest as in :meth:`walks`.

        Returns
        -------
        (W, U): q just after the feature's step less q just before it.
        """
        ...

    def group_walks(
        self,
        x: Floats,
        target: Ints,
        q_x: Floats,
        cell: Ints,
        free: Ints,
        endpoint: Floats,
        order: Ints,
        member: Ints,
    ) -> Floats:
        """Q after each step of W walks whose steps move G groups of features.

        Parameters
        ----------
        order
            The groups in the order in which they change, (W, G).
        member
            The group of each of the features ``free``, (F,); each group has one.

        Returns
        -------
        (W, G)
        """
        ...

    def group_steps(
        self,
        x: Floats,
        target: Ints,
        cell: Ints,
        free: Ints,
        endpoint: Floats,
        order: Ints,
        member: Ints,
        chosen: Ints,
    ) -> Floats:
        """Change of q at the steps of some groups ``chosen``, (W, U)."""
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
