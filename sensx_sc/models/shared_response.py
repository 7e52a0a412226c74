"""A response of several targets: rows that were answered for one are not asked again."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from sensx_sc.models.qoi import Response

if TYPE_CHECKING:
    from torch import Tensor

    from sensx_sc.models.qoi import Floats, Ints


class Memory:
    """Responses of all targets to batches of rows that were evaluated, the latest ones.

    Parameters
    ----------
    room
        Bytes to keep.

    Attributes
    ----------
    targets
        The outputs that are explained, ascending; none: nothing is kept.
    n_asked, n_evaluated
        Rows that were asked for, and those for which the model was run.
    """

    def __init__(self, room: int) -> None:
        self.targets: Ints = np.empty(0, dtype=np.int64)
        self.room = room
        self.n_asked = self.n_evaluated = 0
        self._open()

    def _open(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[bytes, Floats] = OrderedDict()
        self._used = 0

    def __getstate__(self) -> dict[str, Any]:
        return {"targets": self.targets, "room": self.room, "n_asked": 0, "n_evaluated": 0}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ |= state
        self._open()

    def get(self, key: bytes, n_rows: int) -> Floats | None:
        """What is known of a batch."""
        with self._lock:
            self.n_asked += n_rows
            return self._known.get(key)

    def put(self, key: bytes, found: Floats) -> None:
        """Keep what was found, and forget the oldest beyond the room."""
        with self._lock:
            self.n_evaluated += len(found)
            self._known[key] = found
            self._used += found.nbytes
            while self._used > self.room:
                self._used -= self._known.popitem(last=False)[1].nbytes

    def forget(self) -> None:
        """Keep nothing of what is known."""
        with self._lock:
            self._known.clear()
            self._used = 0


@dataclass(frozen=True)
class SharedResponse(Response):
    """The response, with a memory of the batches that it has answered.

    Walks of one input at one scale are the same rows whatever is explained, so the second target
    whose scale is that of the first finds all of its rows there.
    """

    memory: Memory = field(default_factory=lambda: Memory(2**28), compare=False)

    def __call__(self, rows: Tensor, target: Ints) -> Floats:
        """Q of rows (B, n), each for its own target (B,)."""
        targets = self.memory.targets
        place = np.searchsorted(targets, target)
        known = len(targets) and (targets[np.minimum(place, len(targets) - 1)] == target).all()
        if not known or hasattr(self.model, "output"):
            return super().__call__(rows, target)
        key = _key(rows)
        found = self.memory.get(key, len(rows))
        if found is None:
            outputs = self.outputs(rows)
            of_each = [self.of_outputs(outputs, np.full(len(outputs), t)) for t in targets]
            found = np.stack(of_each, axis=1)
            self.memory.put(key, found)
        chosen: Floats = found[np.arange(len(target)), place]
        return chosen


def _key(rows: Tensor) -> bytes:
    values = np.ascontiguousarray(rows.detach().cpu().numpy())
    told = hashlib.blake2b(values.tobytes(), digest_size=16)
    told.update(f"{values.shape}{values.dtype}".encode())
    return told.digest()
