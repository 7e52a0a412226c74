"""Several targets explained from one set of evaluations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sensx_sc.core.arguments import prepared
from sensx_sc.core.explain import explain_blocks
from sensx_sc.core.explanation import joined
from sensx_sc.core.preparation import block_size, check_keys, outputs
from sensx_sc.core.progress import progress_bar
from sensx_sc.models.qoi import output_names, resolve_target
from sensx_sc.models.shared_response import Memory, SharedResponse
from sensx_sc.settings import settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

    from sensx_sc.core.arrays import Floats, Rows
    from sensx_sc.core.explanation import Explanation
    from sensx_sc.core.run import Run
    from sensx_sc.models.qoi import Response

_SHARE = 1 / 8  # of the memory budget: responses to the rows of one input


def explain_targets(
    X: Rows,
    model: Any,
    targets: Sequence[str | int] | None = None,
    *,
    lower: ArrayLike,
    upper: ArrayLike,
    **how: Any,
) -> dict[str, Explanation]:
    """Explain several outputs of a model, each as :func:`explain` does.

    Each has its own delta*. The neighbourhoods that are sampled are the same for all, and so are
    the walks wherever delta* agrees, so a black box is asked for each of these rows once. Results
    are those of separate calls.

    Parameters
    ----------
    X, model, lower, upper
        As in :func:`explain`.
    targets
        Names or numbers of outputs; None: all.
    how
        Any other argument of :func:`explain` but ``target``; ``qoi`` is no function.

    Returns
    -------
    An :class:`Explanation` for each target, by its name.

    Raises
    ------
    ValueError, TypeError, KeyError
        As :func:`explain`; no targets, or one twice.

    Examples
    --------
    >>> import numpy as np
    >>> import sensx_sc as sx
    >>> found = sx.core.explain_targets(
    ...     np.full((1, 2), 0.5), lambda z: z * [3.0, -2.0], [0, 1], lower=0, upper=1, n_walks=20
    ... )
    >>> {name: explanation.mean.round(6).tolist() for name, explanation in found.items()}
    {'0': [[3.0, 0.0]], '1': [[0.0, -2.0]]}
    """
    if "target" in how:
        msg = "`explain_targets` takes `targets`, not `target`."
        raise TypeError(msg)
    memory = Memory(int(settings.memory_budget * _SHARE))
    rows, run, rest = prepared(
        X, model, lower, upper, how, function="explain_targets", respond=shared(memory)
    )
    keys = check_keys(rest.get("keys"), rows.shape[0])
    at = outputs(rows, run, block_size("auto", rows.shape[1]))
    index = each_target(targets, run, at)
    memory.targets = np.array(sorted(index.values()), dtype=np.int64)
    found: dict[str, list[Explanation]] = {name: [] for name in index}
    names = output_names(run.response.model, at.shape[1])
    n = rows.shape[0]
    with progress_bar(n * len(index), run.evaluations, rest.get("progress")) as shown:
        # Input by input, so that all targets of one find what was evaluated for the first.
        streams = [
            explain_blocks(rows, np.full(n, k), names, keys, run, 1, advance=shown.advance)
            for k in index.values()
        ]
        for of_each in zip(*streams, strict=True):
            for name, (_, _, explanation) in zip(index, of_each, strict=True):
                found[name].append(explanation)
            memory.forget()
    return {name: joined(parts) for name, parts in found.items()}


def shared(memory: Memory) -> Any:
    """What makes a response one that remembers."""

    def respond(response: Response) -> Response:
        if callable(response.qoi):
            msg = "several targets have no meaning beside a callable `qoi`, which sees all outputs."
            raise ValueError(msg)
        return SharedResponse(response.model, response.qoi, memory)

    return respond


def each_target(targets: Sequence[str | int] | None, run: Run, at: Floats) -> dict[str, int]:
    """Number of each target, by its name, in the order asked for; None: of every output.

    Raises
    ------
    ValueError, TypeError, KeyError
        No targets, one twice, or one that is not there.
    """
    if targets is None:
        names = output_names(run.response.model, at.shape[1])
        return {name: k for k, name in enumerate(names)}
    if isinstance(targets, str | int) or not len(targets):
        msg = f"`targets` must be names or numbers of at least one output; got {targets!r}."
        raise TypeError(msg)
    index: dict[str, int] = {}
    for target in targets:
        chosen, names = resolve_target(target, run.response, at[:1])
        k = int(chosen[0])
        if k in index.values():
            msg = f"`targets` holds {names[k]!r} more than once."
            raise ValueError(msg)
        index[names[k]] = k
    return index
