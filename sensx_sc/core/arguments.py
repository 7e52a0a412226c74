"""The arguments of ``core.explain``, for functions that take the same."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from sensx_sc.core.arrays import as_rows
from sensx_sc.core.options import Options
from sensx_sc.core.preparation import prepare
from sensx_sc.settings import settings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import ArrayLike

    from sensx_sc.core.arrays import Rows
    from sensx_sc.core.run import Run
    from sensx_sc.models.qoi import Response

_DEFAULTS: dict[str, Any] = {
    "mask": None,
    "groups": None,
    "group_norm": "l2",
    "overlap": "share",
    "ungrouped": "hold",
    "within": None,
    "within_top": 1,
    "kinds": None,
    "levels": None,
    "blocks": None,
    "qoi": "auto",
    "deltas": "auto",
    "n_walks": 200,
    "design": "balanced",
    "out_of_domain": "raise",
    "names": None,
    "batch_size": "auto",
    "device": "auto",
}
_OF_THE_WORK = ("target", "keys", "progress")


def prepared(
    X: Rows,
    model: Any,
    lower: ArrayLike,
    upper: ArrayLike,
    how: Mapping[str, Any],
    *,
    function: str,
    respond: Callable[[Response], Response] | None = None,
) -> tuple[Rows, Run, dict[str, Any]]:
    """The run that :func:`explain` would make of the same arguments.

    Parameters
    ----------
    how
        Any of its other arguments.
    function
        Who takes them, for messages.
    respond
        As in :func:`sensx_sc.core.preparation.prepare`.

    Returns
    -------
    The inputs, the run, and those arguments that say nothing of it: target, keys, progress.

    Raises
    ------
    TypeError
        No such argument.
    """
    rows = as_rows(X)
    options, others = split_options(how)
    rest = {name: others.pop(name) for name in _OF_THE_WORK if name in others}
    unknown = sorted(set(others) - set(_DEFAULTS))
    if unknown:
        msg = f"`{function}` takes the arguments of `explain`; it has no {unknown[0]!r}."
        raise TypeError(msg)
    run = prepare(
        rows,
        model,
        lower=lower,
        upper=upper,
        options=options,
        respond=respond,
        **(_DEFAULTS | others),
    )
    return rows, run, rest


def split_options(how: Mapping[str, Any]) -> tuple[Options, dict[str, Any]]:
    """The options among some arguments, and the other arguments.

    Without a ``precision`` or ``seed``, or where they are None, those of the settings are taken.
    """
    known = {part.name for part in fields(Options)}
    numbers = {name: value for name, value in how.items() if name in known}
    for name in ("precision", "seed"):
        if numbers.get(name) is None:
            numbers[name] = getattr(settings, name)
    others = {name: value for name, value in how.items() if name not in known}
    return Options(**numbers), others
