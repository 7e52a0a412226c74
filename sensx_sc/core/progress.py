"""A bar that shows inputs done and the time that is left, while the method counts evaluations."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from sensx_sc.settings import settings

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROUNDING = 1e-6  # of the sum of parts of inputs
_FORMAT = "{l_bar}{bar}| {n:.1f}/{total} {unit}s [{elapsed}<{remaining}, {rate_fmt}]"


class Progress:
    """What is told of work done; shown in inputs, also in parts of one.

    Parameters
    ----------
    bar
        A bar of tqdm over the inputs, or None.
    evaluations
        Evaluations of the response that one input takes.
    """

    def __init__(self, bar: Any = None, evaluations: int = 1) -> None:
        self._bar = bar
        self._evaluations = max(evaluations, 1)

    def advance(self, evaluations: int) -> None:
        """So many more evaluations are made."""
        if self._bar is not None:
            self._bar.update(self._within(evaluations / self._evaluations))

    def found(self, inputs: int) -> None:
        """So many more inputs had been done before: they say nothing of the time that is left."""
        if self._bar is not None:
            counted = self._within(inputs)
            self._bar.initial += counted
            self._bar.n += counted
            self._bar.refresh()

    def _within(self, inputs: float) -> float:
        """So many, but for rounding and for what is done again: the bar ends at its end."""
        left: float = self._bar.total - self._bar.n
        return left if inputs > left - _ROUNDING else inputs


@contextlib.contextmanager
def progress_bar(
    n_inputs: int, evaluations: int, show: bool | None, *, unit: str = "input"
) -> Iterator[Progress]:
    """A bar over inputs, if it is asked for; None takes the setting."""
    if not (settings.progress if show is None else show):
        yield Progress()
        return
    from tqdm.auto import tqdm

    with tqdm(total=n_inputs, unit=unit, bar_format=_FORMAT) as bar:
        yield Progress(bar, evaluations)
