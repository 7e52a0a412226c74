"""A stage that treats the parts of its input alone, and encodes each distinct part once.

A step of a walk changes little of an input, and so few of the parts (crops, modalities) that an
encoder sees. Which parts are the same is seen from their values, so nothing has to be known of the
walk.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from sensx_sc.models.stages import as_stage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from sensx_sc.models.stages import Stage

_CACHE_BYTES = 2**28
_TILE = 16  # parts are encoded in whole tiles: kernels round the odd ones in another way


class Each:
    """A stage that treats each part of its input alone, and each distinct part once.

    Its input is a tensor (B, P, ...), or several, whose parts may differ in shape; its output is a
    tensor (B, P, F), the parts of several one after the other. With a function for each of several
    inputs it is (B, m), all that they return side by side.

    Parameters
    ----------
    function
        A module, callable or model on parts (N, ...) that returns (N, F), one by one. Or a list of
        them, one for each of several inputs: an encoder for each modality, say.
    batch_size
        Parts of one call.
    cache
        Whether parts that were encoded before are looked up. False: all are encoded, always.
    cache_bytes
        Memory for what was encoded.

    Attributes
    ----------
    functions
        The functions, one for all inputs or one for each.
    n_asked, n_encoded
        Parts that were asked for and that were encoded, since the stage was made.

    Raises
    ------
    TypeError, ValueError
        No function, or a size that is none.
    """

    def __init__(
        self,
        function: Stage | Sequence[Stage],
        *,
        batch_size: int = 128,
        cache: bool = True,
        cache_bytes: int = _CACHE_BYTES,
    ) -> None:
        given = list(function) if isinstance(function, list | tuple) else [function]
        if not given:
            msg = "`function` must hold at least one module or callable; got an empty list."
            raise ValueError(msg)
        for name, value in (("batch_size", batch_size), ("cache_bytes", cache_bytes)):
            least = int(name == "batch_size")
            whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
            if not whole or value < least:
                msg = f"`{name}` must be a whole number of at least {least}; got {value!r}."
                raise ValueError(msg)
        self.functions = [as_stage(one, "function", last=True) for one in given]
        self.batch_size = -(-int(batch_size) // _TILE) * _TILE
        self.cache = bool(cache)
        self.n_asked = self.n_encoded = 0
        self._known: OrderedDict[bytes, Tensor] = OrderedDict()
        self._room, self._used = int(cache_bytes), 0

    def with_functions(self, functions: Sequence[Any]) -> Each:
        """The same with other functions, and nothing known yet."""
        return Each(
            list(functions),
            batch_size=self.batch_size,
            cache=self.cache,
            cache_bytes=self._room,
        )

    def __call__(self, parts: Tensor | Sequence[Tensor]) -> Tensor:
        banks = [parts] if isinstance(parts, torch.Tensor) else list(parts)
        which = [0] * len(banks) if len(self.functions) == 1 else list(range(len(self.functions)))
        if len(which) != len(banks):
            msg = (
                f"there are {len(self.functions)} functions, one for each input; the stage before "
                f"hands on {len(banks)} inputs."
            )
            raise ValueError(msg)
        found = [self._bank(bank, k) for bank, k in zip(banks, which, strict=True)]
        if len(self.functions) > 1:
            found = [vectors.flatten(1) for vectors in found]
        return torch.cat(found, dim=1)

    def _bank(self, bank: Tensor, which: int) -> Tensor:
        n_rows, n_parts = bank.shape[:2]
        flat = bank.reshape(n_rows * n_parts, *bank.shape[2:])
        self.n_asked += len(flat)
        # What is differentiated must go through the function itself.
        looked_up = self.cache and not bank.requires_grad
        found = self._looked_up(bank, flat, which) if looked_up else self._encode(flat, which)
        return found.reshape(n_rows, n_parts, -1)

    def _looked_up(self, bank: Tensor, flat: Tensor, which: int) -> Tensor:
        """What is known of parts, and the rest encoded."""
        # Mostly a part is that of the row before: rows of a walk follow each other.
        n_rows, n_parts = bank.shape[:2]
        same = torch.zeros((n_rows, n_parts), dtype=torch.bool)
        if n_rows > 1:
            pair = bank.reshape(n_rows, n_parts, -1)
            same[1:] = (pair[1:] == pair[:-1]).all(dim=2).cpu()
        first = np.where(same.numpy(), 0, np.arange(n_rows)[:, None])
        source = np.maximum.accumulate(first, axis=0) * n_parts + np.arange(n_parts)
        distinct, place = np.unique(source.ravel(), return_inverse=True)
        keys = [_key(part, which) for part in flat[distinct].cpu().numpy()]
        wanted = OrderedDict((key, i) for i, key in enumerate(keys) if key not in self._known)
        encoded: dict[bytes, Tensor] = {}
        if wanted:
            made = self._encode(flat[distinct[list(wanted.values())]], which)
            encoded = dict(zip(wanted, made, strict=True))
        vectors = [encoded[key] if key in encoded else self._recall(key) for key in keys]
        for key, vector in encoded.items():
            self._keep(key, vector)
        return torch.stack(vectors)[torch.as_tensor(place, device=vectors[0].device)]

    def _encode(self, parts: Tensor, which: int) -> Tensor:
        self.n_encoded += len(parts)
        made = []
        for start in range(0, len(parts), self.batch_size):
            batch = parts[start : start + self.batch_size]
            missing = -len(batch) % _TILE
            if missing:
                batch = torch.cat([batch, batch[-1:].expand(missing, *batch.shape[1:])])
            found = self.functions[which](batch)[: len(batch) - missing]
            made.append(found.reshape(len(found), -1))
        return made[0] if len(made) == 1 else torch.cat(made)

    def _recall(self, key: bytes) -> Tensor:
        self._known.move_to_end(key)
        return self._known[key]

    def _keep(self, key: bytes, vector: Tensor) -> None:
        size = vector.numel() * vector.element_size()
        if size > self._room:
            return
        self._known[key] = vector.clone()
        self._used += size
        while self._used > self._room:
            _, old = self._known.popitem(last=False)
            self._used -= old.numel() * old.element_size()


def _key(part: np.ndarray, which: int) -> bytes:
    told = hashlib.blake2b(np.ascontiguousarray(part).tobytes(), digest_size=16)
    told.update(f"{which}{part.shape}{part.dtype}".encode())
    return told.digest()
