"""What every method is asked: the same inputs, the same response, the same background."""

from __future__ import annotations

import contextlib
import importlib
import logging
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sensx_sc.core.preparation import read

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sensx_sc.core.arrays import Floats
    from sensx_sc.metrics.explained import Explained


class NotApplicableError(Exception):
    """Why a method cannot be used: the end of a sentence."""


@dataclass(frozen=True)
class Question:
    """Inputs to explain, and what methods that need more may use.

    Attributes
    ----------
    cells
        The inputs and their model.
    background
        Rows that stand for the data, (B, n).
    n_steps
        Points of an integral.
    n_samples
        Samples of an input: coalitions, points of expected gradients; None: the library's choice.
    n_permutations
        Of the permutation explainer.
    max_rows
        Rows of an input that a model may be asked for.
    max_bytes
        Memory that a method may need.
    seed
        Of whatever is random.
    """

    cells: Explained
    background: Floats
    n_steps: int
    n_samples: int | None
    n_permutations: int
    max_rows: int
    max_bytes: float
    seed: int

    @property
    def x(self) -> Floats:
        """All inputs, dense, (C, n)."""
        return read(self.cells.rows, self.cells.run)

    def rng(self, method: str) -> np.random.Generator:
        """Random numbers of a method's own."""
        return np.random.default_rng([self.seed, *method.encode()])

    def drawn(self, method: str, i: int) -> Floats:
        """One background row for input ``i``, whatever others are explained, (n,)."""
        key = str(self.cells.keys[i])
        rng = np.random.default_rng([self.seed, *f"{method}:{key}".encode()])
        found: Floats = self.background[rng.integers(len(self.background))]
        return found

    def check_rows(self, rows: int) -> None:
        """Refuse a method that asks the model too much.

        Raises
        ------
        NotApplicableError
            With the numbers.
        """
        if rows > self.max_rows:
            msg = (
                f"needs {rows:.2g} evaluations of the model an input, more than `max_rows` = "
                f"{self.max_rows:.2g}"
            )
            raise NotApplicableError(msg)

    def check_memory(self, n_bytes: float) -> None:
        """Refuse a method that needs too much memory.

        Raises
        ------
        NotApplicableError
            With the numbers.
        """
        if n_bytes > self.max_bytes:
            msg = (
                f"needs {n_bytes / 1e9:.3g} GB of memory, more than the budget of "
                f"{self.max_bytes / 1e9:.3g} GB"
            )
            raise NotApplicableError(msg)


@dataclass(frozen=True)
class Answer:
    """Attributions of a method.

    Attributes
    ----------
    scores
        Signed, (C, n).
    missed
        What the attributions of each input fail to add up to, relative to what they should, (C,);
        NaN where nothing was promised.
    """

    scores: Floats
    missed: Floats


def relative(missed: Floats, should: Floats) -> Floats:
    """Size of what is missing beside what should be there."""
    return np.abs(missed) / np.maximum(np.abs(should), 1e-12)


def library(name: str) -> Any:
    """A library of the extra ``compare``.

    Raises
    ------
    NotApplicableError
        It is not installed.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own, at import
        try:
            return importlib.import_module(name)
        except ImportError as error:
            msg = (
                f"needs {name.split('.')[0]}, which is not installed: pip install "
                "'sensx_sc[compare]'"
            )
            raise NotApplicableError(msg) from error


@contextlib.contextmanager
def quiet(seed: int) -> Iterator[None]:
    """No warnings or logs of others; their global random numbers seeded, and then as before."""
    import torch

    talk = logging.getLogger("shap")
    level = talk.level
    talk.setLevel(logging.WARNING)
    before = np.random.get_state()  # noqa: NPY002 - what shap draws from
    np.random.seed(seed % 2**32)  # noqa: NPY002
    try:
        with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
            warnings.simplefilter("ignore")
            torch.manual_seed(seed)
            yield
    finally:
        np.random.set_state(before)  # noqa: NPY002
        talk.setLevel(level)
