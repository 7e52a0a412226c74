"""Features that a model provably never reads: their steps change nothing and cost nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from sensx_sc.evaluators.protocol import Floats, Ints

    LiveWalks = Callable[[Ints, Floats, Ints], Floats]
    """Features, endpoints and order of the live steps -> q after each of them."""


def skip_dead(
    live: NDArray[np.bool_],
    q_x: Floats,
    cell: Ints,
    free: Ints,
    endpoint: Floats,
    order: Ints,
    walks: LiveWalks,
) -> Floats:
    """Q along walks of which only the steps of live features are evaluated.

    Parameters
    ----------
    live
        Which of the F features the model reads.
    q_x
        Responses of the inputs, (C,); the other arguments are those of
        :meth:`~sensx_sc.evaluators.protocol.Evaluator.walks`.
    walks
        Evaluates the steps of live features.

    Returns
    -------
    (W, F): at a dead feature's step q is what it was before.
    """
    if live.all():
        return walks(free, endpoint, order)
    start = q_x[cell][:, None]
    if not live.any():
        return np.repeat(start, len(free), axis=1)
    position = np.cumsum(live) - 1
    met = live[order]
    of_live = position[order[met]].reshape(len(order), -1)
    q_live = walks(free[live], endpoint[:, live], of_live)
    states = np.concatenate([start, q_live], axis=1)
    return np.take_along_axis(states, np.cumsum(met, axis=1), axis=1)
