"""Features that a model provably never reads: their steps change nothing and cost nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from sensx_sc.evaluators.protocol import Floats
    from sensx_sc.evaluators.walk_set import WalkSet


def skip_dead(
    walks: WalkSet, live: NDArray[np.bool_], evaluate: Callable[[WalkSet], Floats]
) -> Floats:
    """Q along walks of which only the steps that move a live feature are evaluated.

    Parameters
    ----------
    live
        Which of the F features the model reads.
    evaluate
        Evaluates walks of live features, as
        :meth:`~sensx_sc.evaluators.protocol.Evaluator.walks` does.

    Returns
    -------
    (W, S): at a step that moves dead features only q is what it was before.
    """
    if live.all():
        return evaluate(walks)
    start = walks.q_x[walks.cell][:, None]
    if not live.any():
        return np.repeat(start, walks.n_steps, axis=1)
    read = np.flatnonzero(live)
    met = (walks.numbers(read) >= 0)[walks.order]
    states = np.concatenate([start, evaluate(walks.of(read))], axis=1)
    return np.take_along_axis(states, np.cumsum(met, axis=1), axis=1)
