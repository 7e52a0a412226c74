"""Composite models: stages one after the other, such as preprocessing, encoder and head.

A step of a walk changes little of an input, and so few of the parts (crops) that an encoder sees.
A stage that treats parts alone encodes each distinct part once; which parts are the same is seen
from their values, so nothing has to be known of the walk.
"""

from __future__ import annotations

import copy
import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from torch import nn

from sensx_sc.models.as_model import find_device
from sensx_sc.models.layout import Layout
from sensx_sc.models.model import as_matrix, as_names
from sensx_sc.models.torch_module import check_eval

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from sensx_sc.models.model import OutputKind

Stage: TypeAlias = Any
"""A module, a callable, or :class:`Each`."""
_CACHE_BYTES = 2**28
_TILE = 16  # parts are encoded in whole tiles: kernels round the odd ones in another way


class Each:
    """A stage that treats each part of its input alone, and each distinct part once.

    Its input is a tensor (B, P, ...), or several, whose parts may differ in shape; its output is a
    tensor (B, P, F), the parts of several one after the other.

    Parameters
    ----------
    function
        A module or callable on parts (N, ...) that returns (N, F), one by one.
    batch_size
        Parts of one call.
    cache
        Whether parts that were encoded before are looked up. False: all are encoded, always.
    cache_bytes
        Memory for what was encoded.

    Attributes
    ----------
    n_asked, n_encoded
        Parts that were asked for and that were encoded, since the stage was made.
    """

    def __init__(
        self,
        function: nn.Module | Callable[..., Any],
        *,
        batch_size: int = 128,
        cache: bool = True,
        cache_bytes: int = _CACHE_BYTES,
    ) -> None:
        if not callable(function) or isinstance(function, type):
            msg = f"`function` must be a module or a callable on parts; got {function!r}."
            raise TypeError(msg)
        for name, value in (("batch_size", batch_size), ("cache_bytes", cache_bytes)):
            whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
            if not whole or value < (name == "batch_size"):
                msg = f"`{name}` must be a whole number of at least 1; got {value!r}."
                raise ValueError(msg)
        self.function = function
        self.batch_size = -(-int(batch_size) // _TILE) * _TILE
        self.cache = bool(cache)
        self.n_asked = self.n_encoded = 0
        self._known: OrderedDict[bytes, Tensor] = OrderedDict()
        self._room, self._used = int(cache_bytes), 0

    def __call__(self, parts: Tensor | Sequence[Tensor]) -> Tensor:
        banks = [parts] if isinstance(parts, torch.Tensor) else list(parts)
        return torch.cat([self._bank(bank) for bank in banks], dim=1)

    def _bank(self, bank: Tensor) -> Tensor:
        n_rows, n_parts = bank.shape[:2]
        flat = bank.reshape(n_rows * n_parts, *bank.shape[2:])
        self.n_asked += len(flat)
        found = self._looked_up(bank, flat) if self.cache else self._encode(flat)
        return found.reshape(n_rows, n_parts, -1)

    def _looked_up(self, bank: Tensor, flat: Tensor) -> Tensor:
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
        keys = [_key(part) for part in flat[distinct].cpu().numpy()]
        wanted = OrderedDict((key, i) for i, key in enumerate(keys) if key not in self._known)
        encoded: dict[bytes, Tensor] = {}
        if wanted:
            made = self._encode(flat[distinct[list(wanted.values())]])
            encoded = dict(zip(wanted, made, strict=True))
        vectors = [encoded[key] if key in encoded else self._recall(key) for key in keys]
        for key, vector in encoded.items():
            self._keep(key, vector)
        return torch.stack(vectors)[torch.as_tensor(place, device=vectors[0].device)]

    def _encode(self, parts: Tensor) -> Tensor:
        self.n_encoded += len(parts)
        made = []
        for start in range(0, len(parts), self.batch_size):
            batch = parts[start : start + self.batch_size]
            missing = -len(batch) % _TILE
            if missing:
                batch = torch.cat([batch, batch[-1:].expand(missing, *batch.shape[1:])])
            found = self.function(batch)[: len(batch) - missing]
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


def _key(part: np.ndarray) -> bytes:
    told = hashlib.blake2b(np.ascontiguousarray(part).tobytes(), digest_size=16)
    told.update(f"{part.shape}{part.dtype}".encode())
    return told.digest()


class Chain:
    """Stages one after the other as one black box, for rows (B, n).

    Parameters
    ----------
    stages
        Names and stages, in order: modules in eval mode, callables on tensors, or :class:`Each`.
        The first gets the inputs (B, *shape), the last returns (B,) or (B, K).
    shape
        Shape of an input; None: that of what :func:`sensx_sc.im.sensx` explains.
    outputs
        What the outputs are: ``"logit"``, ``"probability"`` or ``"value"``.
    output_names
        Their names.
    layout
        Order of the values in a row, where it is not (tile, c, y, x).
    name
        For messages.
    device
        ``"auto"`` or a device.

    Raises
    ------
    ValueError, TypeError
        No stages, or what is no stage; a module in training mode.

    Examples
    --------
    >>> import torch, sensx_sc as sx
    >>> torch.manual_seed(0)  # doctest: +ELLIPSIS
    <torch._C.Generator ...>
    >>> model = sx.models.Chain(
    ...     {
    ...         "halves": lambda z: z.reshape(len(z), 2, 4),
    ...         "encoder": sx.models.Each(torch.nn.Linear(4, 3).eval()),
    ...         "head": lambda codes: codes.sum(dim=(1, 2)),
    ...     },
    ...     shape=(8,),
    ... )
    >>> found = sx.core.explain([[0.5] * 8], model, lower=0, upper=1, n_walks=20, n_samples=40)
    >>> found.value.shape, model.after("encoder").shape
    ((1, 8), (2, 3))
    """

    feature_names: tuple[str, ...] | None = None
    input_range: tuple[float, float] | None = None

    def __init__(
        self,
        stages: Mapping[str, Stage],
        *,
        shape: tuple[int, ...] | None = None,
        outputs: OutputKind = "value",
        output_names: Sequence[object] | None = None,
        layout: Layout | None = None,
        name: str | None = None,
        device: str | torch.device = "auto",
    ) -> None:
        if not isinstance(stages, Mapping) or not stages:
            msg = f"`stages` must be a mapping from names to at least one stage; got {stages!r}."
            raise TypeError(msg)
        for title, stage in stages.items():
            if not callable(stage) or isinstance(stage, type):
                msg = f"the stage {title!r} must be a module, a callable or Each; got {stage!r}."
                raise TypeError(msg)
            module = _module_of(stage)
            if module is not None:
                check_eval(module)
        self.stages = dict(stages)
        self.source: object = self.stages
        self.shape = None if shape is None else tuple(int(size) for size in shape)
        self.kind: OutputKind = outputs
        self.output_names = as_names(output_names)
        self.layout = layout or Layout()
        self.name = name or " > ".join(map(str, stages))
        homes = [_home(stage) for stage in stages.values()]
        home = next((h for h in homes if h is not None), torch.device("cpu"))
        self._device = find_device(device, home)
        self.dtypes: tuple[torch.dtype, ...] = (torch.float32, torch.float64)
        self._copies: dict[torch.dtype, dict[str, Stage]] = {}

    def device(self, dtype: torch.dtype) -> torch.device:
        # Apple's GPUs have no float64.
        if self._device.type == "mps" and dtype == torch.float64:
            return torch.device("cpu")
        return self._device

    def outputs(self, rows: Tensor) -> Tensor:
        returned = self._run(self._shaped(rows), list(self.stages), rows.dtype)
        if not isinstance(returned, torch.Tensor):
            msg = f"the last stage of {self.name} must return a tensor; got {type(returned)}."
            raise TypeError(msg)
        return returned.reshape(as_matrix(tuple(returned.shape), len(rows), self.name))

    def with_shape(self, shape: tuple[int, ...]) -> Chain:
        """The same for inputs of a shape."""
        other = copy.copy(self)
        other.shape = tuple(shape)
        return other

    def at(self, name: str, rows: Any) -> np.ndarray:
        """What the inputs are at the interface behind a stage.

        Parameters
        ----------
        name
            The stage.
        rows
            Inputs, (B, n).

        Returns
        -------
        (B, m), several tensors one after the other.
        """
        dtype = self.dtypes[0]
        given = torch.as_tensor(np.asarray(rows), dtype=dtype, device=self.device(dtype))
        with torch.inference_mode():
            found = self._run(self._shaped(given), self._until(name), dtype)
        return _flat(found).cpu().numpy()

    def after(self, name: str) -> Chain:
        """The model behind a stage: attribution starts at what that stage hands on.

        Parameters
        ----------
        name
            The stage.

        Returns
        -------
        A chain of the other stages, for rows as :meth:`at` returns them.
        """
        before = self._until(name)
        if len(before) == len(self.stages):
            msg = f"{name!r} is the last stage of {self.name}; nothing comes after it."
            raise ValueError(msg)
        if self.shape is None:
            msg = "`shape` of the inputs must be known to start at an interface."
            raise ValueError(msg)
        dtype = self.dtypes[0]
        example = torch.zeros((1, *self.shape), dtype=dtype, device=self.device(dtype))
        with torch.inference_mode():
            found = self._run(example, before, dtype)
        rest = {title: stage for title, stage in self.stages.items() if title not in before}
        shape: tuple[int, ...] | None = None
        if isinstance(found, torch.Tensor):
            shape = tuple(found.shape[1:])
        else:
            rest = {f"as {name}": _Apart([tuple(part.shape[1:]) for part in found]), **rest}
            shape = (_flat(found).shape[1],)
        return Chain(
            rest,
            shape=shape,
            outputs=self.kind,
            output_names=self.output_names,
            name=" > ".join(title for title in self.stages if title not in before),
            device=self._device,
        )

    def _until(self, name: str) -> list[str]:
        titles = list(self.stages)
        if name not in titles:
            msg = f"there is no stage {name!r}; there are {', '.join(map(repr, titles))}."
            raise KeyError(msg)
        return titles[: titles.index(name) + 1]

    def _shaped(self, rows: Tensor) -> Tensor:
        return rows if self.shape is None else rows.reshape(len(rows), *self.shape)

    def _run(self, values: Any, titles: list[str], dtype: torch.dtype) -> Any:
        stages = self._of_type(dtype)
        for title in titles:
            values = stages[title](values)
        return values

    def _of_type(self, dtype: torch.dtype) -> dict[str, Stage]:
        """Copies of the stages whose modules have this type; the caller's are never changed."""
        if dtype not in self._copies:
            where = self.device(dtype)
            self._copies[dtype] = {
                title: _copied(stage, where, dtype) for title, stage in self.stages.items()
            }
        return self._copies[dtype]

    def counts(self) -> dict[str, tuple[int, int]]:
        """Parts asked for and parts encoded, of each stage that is :class:`Each`."""
        found = {}
        for title, stage in self.stages.items():
            if isinstance(stage, Each):
                copies = [stages[title] for stages in self._copies.values()]
                each = [made for made in copies if isinstance(made, Each)]
                asked, encoded = sum(e.n_asked for e in each), sum(e.n_encoded for e in each)
                found[title] = (asked, encoded)
        return found


class _Apart:
    """Rows taken apart into tensors of given shapes."""

    def __init__(self, shapes: list[tuple[int, ...]]) -> None:
        self.shapes = shapes

    def __call__(self, rows: Tensor) -> list[Tensor]:
        sizes = [int(np.prod(shape)) for shape in self.shapes]
        parts = torch.split(rows, sizes, dim=1)
        return [part.reshape(len(rows), *s) for part, s in zip(parts, self.shapes, strict=True)]


def _flat(values: Tensor | Sequence[Tensor]) -> Tensor:
    parts = [values] if isinstance(values, torch.Tensor) else list(values)
    return torch.cat([part.reshape(len(part), -1) for part in parts], dim=1)


def _module_of(stage: Stage) -> nn.Module | None:
    inside = stage.function if isinstance(stage, Each) else stage
    return inside if isinstance(inside, nn.Module) else None


def _home(stage: Stage) -> torch.device | None:
    module = _module_of(stage)
    return None if module is None else next((p.device for p in module.parameters()), None)


def _copied(stage: Stage, where: torch.device, dtype: torch.dtype) -> Stage:
    module = _module_of(stage)
    made: Any = stage if module is None else _clone(module, where, dtype)
    if not isinstance(stage, Each):
        return made
    return Each(
        stage.function if module is None else made,
        batch_size=stage.batch_size,
        cache=stage.cache,
        cache_bytes=stage._room,
    )


def _clone(module: nn.Module, where: torch.device, dtype: torch.dtype) -> nn.Module:
    clone = copy.deepcopy(module).to(device=where, dtype=dtype)
    return clone.requires_grad_(requires_grad=False)
