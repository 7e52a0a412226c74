"""``sx.tl.sensx_targets``: several outputs of a model explained from one set of evaluations."""

from __future__ import annotations

import inspect
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from sensx_sc.core.targets import each_target, shared
from sensx_sc.logger import logger
from sensx_sc.models.shared_response import Memory
from sensx_sc.pp._selection import check_adata, refuse_backed
from sensx_sc.scale.budget import check_fits
from sensx_sc.settings import settings
from sensx_sc.slots import write
from sensx_sc.tl._asked import ask
from sensx_sc.tl._gather import gather_each
from sensx_sc.tl._notes import log_written
from sensx_sc.tl._sensx import sensx

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anndata import AnnData

_NOT_TAKEN = ("target", "store", "shard", "copy", "progress", "key_added")
_MEMORY_SHARE = 1 / 8


def sensx_targets(
    adata: AnnData,
    model: Any,
    targets: Sequence[str | int] | Mapping[str, str] | None = None,
    *,
    key_added: str = "sensx",
    progress: bool | None = None,
    **how: Any,
) -> None:
    """Explain several outputs of a model for each cell, as :func:`sensx` explains each.

    Every output has its own delta* and its own results. What is evaluated is shared: the sampled
    neighbourhoods of a cell are the same for all outputs, and so are its walks wherever delta*
    agrees, so a model that is evaluated row by row sees each of these rows once. The numbers are
    those of separate calls.

    Parameters
    ----------
    adata, model
        As in :func:`sensx`.
    targets
        Names or numbers of outputs. Or a mapping from them to the keys of their results. None: all
        outputs, every class of a classifier at once.
    key_added
        Prefix of the keys: results of an output are under ``f"{key_added}_{name}"``, with ``/``
        replaced by ``-``.
    progress
        Show a progress bar; None: ``settings.progress``.
    how
        Any other argument of :func:`sensx` but ``target``, ``store``, ``shard`` and ``copy``;
        ``qoi`` is no function.

    Returns
    -------
    None. Written is, for each target, what :func:`sensx` writes, under its key.

    Raises
    ------
    ValueError, TypeError, KeyError
        As :func:`sensx`; no targets, one twice, or two with the same key.

    Examples
    --------
    >>> import sensx_sc as sx
    >>> adata = sx.datasets.toy()
    >>> model = sx.models.fit_mlp(adata, "cell_type", hidden=(16,), epochs=20, progress=False)
    >>> sx.tl.sensx_targets(adata, model, ["A", "B"], n_walks=20, n_samples=400, progress=False)
    >>> [key for key in adata.obs if key.endswith("status")]
    ['sensx_A_status', 'sensx_B_status']
    """
    started = time.perf_counter()
    check_adata(adata)
    refuse_backed(adata, copy=False)
    memory = Memory(int(settings.memory_budget * _MEMORY_SHARE))
    asked = ask(
        adata,
        model,
        target=0,
        key_added=key_added,
        respond=shared(memory),
        in_memory=False,
        **_arguments(how),
    )
    wanted = list(targets) if isinstance(targets, Mapping) else targets
    index = each_target(wanted, asked.job.run, asked.at_cells)
    keys = _keys(targets, index, key_added)
    memory.targets = np.array(sorted(index.values()), dtype=np.int64)
    each = [
        asked.about(adata, k, key) for k, key in zip(index.values(), keys.values(), strict=True)
    ]
    job = asked.job
    n_rows = len(job.cells) if job.keep else adata.n_obs
    check_fits(n_rows, len(job.names), len(job.statistics) * len(each), keep=job.keep)
    asked.log()
    logger.info("sensx: for each of %s.", ", ".join(map(repr, index)))
    found = gather_each([one.job for one in each], memory, progress=progress)
    slots = [one.slots_of(results, adata) for one, results in zip(each, found, strict=True)]
    for one, results, of_one in zip(each, found, slots, strict=True):
        write(adata, of_one, one.key)
        log_written(results, of_one, time.perf_counter() - started)


def _arguments(how: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of ``ask``: those given, and the defaults of ``tl.sensx``."""
    taken = {
        name: parameter.default
        for name, parameter in inspect.signature(sensx).parameters.items()
        if parameter.default is not inspect.Parameter.empty and name not in _NOT_TAKEN
    }
    unknown = sorted(set(how) - set(taken))
    if unknown:
        msg = (
            f"`sensx_targets` takes {', '.join(taken)}, as sx.tl.sensx does; it has no "
            f"{unknown[0]!r}."
        )
        raise TypeError(msg)
    return taken | dict(how)


def _keys(
    targets: Sequence[str | int] | Mapping[str, str] | None, index: Mapping[str, int], prefix: str
) -> dict[str, str]:
    """The key of each target's results."""
    given = list(targets.values()) if isinstance(targets, Mapping) else None
    own = [f"{prefix}_{name}".replace("/", "-") for name in index]
    keys = dict(zip(index, own if given is None else given, strict=True))
    if len(set(keys.values())) < len(keys):
        msg = f"every target needs a key of its own; got {', '.join(map(repr, keys.values()))}."
        raise ValueError(msg)
    return keys
