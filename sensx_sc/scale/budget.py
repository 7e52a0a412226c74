"""Whether results fit, before any work."""

from __future__ import annotations

import os
from pathlib import Path

_SHARE = 0.9  # of the free memory


def check_fits(n_obs: int, n_features: int, n_arrays: int, *, keep: int | None = None) -> None:
    """Refuse arrays of all cells that the machine has no memory for.

    Parameters
    ----------
    keep
        Features of a cell that are kept, with their indices; None: all.

    Raises
    ------
    ValueError
        With what the arrays need, what is free, and what to do.
    """
    of_a_cell = 4 * n_features if keep is None else 8 * min(keep, n_features)
    needed, free = of_a_cell * n_obs * n_arrays, _free_memory()
    if free is None or needed <= _SHARE * free:
        return
    msg = (
        f"the {n_arrays} arrays of {n_obs} cells x {n_features} features need "
        f"{needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB of memory are free. Pass "
        "store='run.zarr' to keep them on disk, keep='top:500' for the first genes of each cell "
        "only, explain fewer cells (adata[mask].copy()), or ask for fewer `statistics`."
    )
    raise ValueError(msg)


def check_samples_fit(n_deltas: int, n_samples: int) -> None:
    """Refuse so many random points a scale that the response at them has no room in memory.

    All points of all scales of an input are there at once, sorted beside the unsorted.

    Raises
    ------
    ValueError
        With what they need, and what is free.
    """
    needed, free = 2 * 8 * n_deltas * n_samples, _free_memory()
    if free is not None and needed > _SHARE * free:
        msg = (
            f"`n_samples` {n_samples} would need about {needed / 1e9:.1f} GB for the response at "
            f"random points, and {free / 1e9:.1f} GB of memory are free. Thousands are enough."
        )
        raise ValueError(msg)


def _free_memory() -> int | None:
    """Bytes that could be used; None where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        told = dict(line.split(":", 1) for line in lines)
        return int(told["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        pass
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None
