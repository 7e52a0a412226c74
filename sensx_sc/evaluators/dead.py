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

    LiveGroupWalks = Callable[[Ints, Floats, Ints, Ints], Floats]
    """The same, and the group of each feature."""


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
    own = np.arange(len(free))  # each feature is a group of its own

    def live_walks(features: Ints, end: Floats, steps: Ints, _: Ints) -> Floats:
        return walks(features, end, steps)

    return skip_dead_groups(live, q_x, cell, free, endpoint, order, own, live_walks)


def skip_dead_groups(
    live: NDArray[np.bool_],
    q_x: Floats,
    cell: Ints,
    free: Ints,
    endpoint: Floats,
    order: Ints,
    member: Ints,
    walks: LiveGroupWalks,
) -> Floats:
    """The same for walks whose steps move groups: one is live if any of its features is.

    Parameters
    ----------
    member
        The group of each feature, (F,): positions that ``order`` (W, G) puts in order.
    walks
        Evaluates the steps of live groups, of which it is told the live features.
    """
    if live.all():
        return walks(free, endpoint, order, member)
    start = q_x[cell][:, None]
    if not live.any():
        return np.repeat(start, order.shape[1], axis=1)
    of_group = np.bincount(member, weights=live, minlength=order.shape[1]) > 0
    of_live, met = _without(of_group, order)
    number = np.cumsum(of_group) - 1
    q_live = walks(free[live], endpoint[:, live], of_live, number[member[live]])
    states = np.concatenate([start, q_live], axis=1)
    return np.take_along_axis(states, np.cumsum(met, axis=1), axis=1)


def _without(live: NDArray[np.bool_], order: Ints) -> tuple[Ints, NDArray[np.bool_]]:
    """Orders of what is live alone, renumbered; and which steps of the orders those are."""
    position = np.cumsum(live) - 1
    met = live[order]
    return position[order[met]].reshape(len(order), -1), met
