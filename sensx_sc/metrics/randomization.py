"""Model randomisation (Adebayo 2018): weights are drawn anew, layer by layer, from the output."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn

Mode = Literal["cascade", "independent"]
_RESETS = ("reset_parameters", "_reset_parameters")


def layers_of(module: nn.Module, n_levels: int | None = None) -> list[tuple[str, ...]]:
    """Names of the submodules that own weights, from the output to the input, by level.

    Modules are in the order in which they were registered, which is that of the forward pass in
    nearly all of them.

    Parameters
    ----------
    module
        The model.
    n_levels
        Merge neighbouring layers into so many levels; None: a level a layer.

    Raises
    ------
    ValueError
        A module without weights.

    Examples
    --------
    >>> from torch import nn
    >>> from sensx_sc.metrics.randomization import layers_of
    >>> layers_of(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1)))
    [('2',), ('0',)]
    """
    names = [name for name, part in module.named_modules() if any(True for _ in own(part))]
    if not names:
        msg = f"the model ({type(module).__name__}) has no weights that could be drawn anew."
        raise ValueError(msg)
    names = names[::-1]
    if n_levels is None or n_levels >= len(names):
        return [(name,) for name in names]
    return [tuple(part) for part in np.array_split(np.array(names, dtype=object), n_levels)]


def own(part: nn.Module) -> Iterator[nn.Parameter]:
    """Weights of a module itself, not of its parts."""
    yield from (weight for weight in part.parameters(recurse=False) if weight.numel())


def randomized(module: nn.Module, names: tuple[str, ...], seed: int) -> nn.Module:
    """A copy of a module with the weights of some submodules drawn anew.

    Submodules that know how (``reset_parameters``) start as if they were new; weights of others
    are drawn from the normal law of the same mean and spread. The module itself, and torch's
    global random state, are left alone.

    Parameters
    ----------
    names
        Of submodules, as :func:`layers_of` gives them.
    seed
        Of the new weights.
    """
    clone = copy.deepcopy(module)
    device = next((weight.device for weight in module.parameters()), torch.device("cpu"))
    clone = clone.to("cpu")  # where the generator is the same whatever the device
    parts = dict(clone.named_modules())
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        for name in names:
            torch.manual_seed(_seed_of(seed, name))
            part = parts[name]
            reset = next((getattr(part, r) for r in _RESETS if hasattr(part, r)), None)
            if reset is not None:
                reset()
                continue
            for weight in own(part):
                spread = float(weight.std()) if weight.numel() > 1 else abs(float(weight))
                weight.copy_(float(weight.mean()) + spread * torch.randn_like(weight))
    return clone.to(device)


def _seed_of(seed: int, name: str) -> int:
    """A seed for each submodule, so that a level's weights do not depend on the others."""
    return int(np.random.SeedSequence([seed, *name.encode()]).generate_state(1, np.uint64)[0] >> 1)


def levels(
    module: nn.Module, *, mode: Mode = "cascade", n_levels: int | None = None, seed: int = 0
) -> Iterator[tuple[tuple[str, ...], nn.Module]]:
    """Copies of a module with more and more of its weights drawn anew.

    Parameters
    ----------
    mode
        ``"cascade"``: the last level, the last two, ...; ``"independent"``: each level alone.
    n_levels, seed
        As in :func:`layers_of` and :func:`randomized`.

    Yields
    ------
    The submodules of the level, and the copy.

    Raises
    ------
    ValueError
        An unknown mode, or a module without weights.
    """
    if mode not in get_args(Mode):
        msg = f"`mode` must be one of {get_args(Mode)}; got {mode!r}."
        raise ValueError(msg)
    before: tuple[str, ...] = ()
    for names in layers_of(module, n_levels):
        before = (*before, *names)
        yield names, randomized(module, before if mode == "cascade" else names, seed)
