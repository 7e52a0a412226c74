"""Composite models: stages one after the other, such as preprocessing, encoder and head."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np
import torch
from torch import nn

from sensx_sc.models.devices import find_device, that_holds
from sensx_sc.models.each import Each
from sensx_sc.models.held import HoldsCovariates
from sensx_sc.models.layout import Layout
from sensx_sc.models.model import Announces, ChecksRows, Model, as_matrix, as_names
from sensx_sc.models.stages import OfModel, as_stage, names_in, types_of
from sensx_sc.models.torch_module import check_eval

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pandas as pd
    from numpy.typing import NDArray
    from torch import Tensor

    from sensx_sc.models.model import OutputKind
    from sensx_sc.models.stages import Stage


class Chain:
    """Stages one after the other as one black box, for rows (B, n).

    Parameters
    ----------
    stages
        Names and stages, in order: modules in eval mode, callables on tensors, :class:`Each`,
        fitted transformers, or any model that :func:`as_model` takes. The first gets the inputs,
        (B, ...) of ``shape``, the last returns (B,) or (B, K). Of an estimator that can do both,
        ``predict`` is meant at the end and ``transform`` before.
    shape
        Shape of an input; None: (n,) where its n features have names, else that of what
        :func:`sensx_sc.im.sensx` explains.
    outputs
        What the outputs are: ``"logit"``, ``"probability"`` or ``"value"``. None: what is known of
        the last stage if that is a model; values of modules and callables.
    feature_names, output_names
        Names; None: those that the first and the last stage know.
    layout
        Order of the values in a row, where it is not (tile, c, y, x).
    name
        For messages.
    device
        ``"auto"`` or a device.

    Raises
    ------
    ValueError, TypeError
        No stages, or what is no stage; a module in training mode; names that are not those of the
        first stage, or not as many as an input has values.

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

    def __init__(
        self,
        stages: Mapping[str, Stage],
        *,
        shape: tuple[int, ...] | None = None,
        outputs: OutputKind | None = None,
        feature_names: Sequence[object] | None = None,
        output_names: Sequence[object] | None = None,
        layout: Layout | None = None,
        name: str | None = None,
        device: str | torch.device = "auto",
    ) -> None:
        if not isinstance(stages, Mapping) or not stages:
            msg = f"`stages` must be a mapping from names to at least one stage; got {stages!r}."
            raise TypeError(msg)
        self.stages = _ready(stages, device)
        self.source: object = self.stages
        *_, last = self.stages.values()
        first = next(iter(self.stages.values()))
        self._first = first.model if isinstance(first, OfModel) else None
        ends = last.model if isinstance(last, OfModel) else None
        self.feature_names = _matched(as_names(feature_names), names_in(first), next(iter(stages)))
        self.shape = _shape(shape, self.feature_names)
        self.kind: OutputKind = outputs or (ends.kind if ends else "value")
        own = ends.output_names if ends else None
        self.output_names = own if output_names is None else as_names(output_names)
        self.independent: bool = getattr(ends, "independent", False)
        self.needs_target: bool = getattr(ends, "needs_target", False)
        self.held_names = self._first.held_names if _holds(self._first) else ()
        self.input_range = self._first.input_range if self._first else None
        self.layout = layout or Layout()
        self.name = name or " > ".join(map(str, stages))
        homes = [_home(stage) for stage in self.stages.values()]
        home = next((h for h in homes if h is not None), torch.device("cpu"))
        self._device = find_device(device, home)
        self.dtypes: tuple[torch.dtype, ...] = types_of(_functions(self.stages.values()))
        self._copies: dict[torch.dtype, dict[str, Stage]] = {}

    def device(self, dtype: torch.dtype) -> torch.device:
        return that_holds(dtype, self._device)

    def outputs(self, rows: Tensor) -> Tensor:
        returned = self._run(self._shaped(rows), list(self.stages), rows.dtype)
        if not isinstance(returned, torch.Tensor):
            msg = f"the last stage of {self.name} must return a tensor; got {type(returned)}."
            raise TypeError(msg)
        return returned.reshape(as_matrix(tuple(returned.shape), len(rows), self.name))

    def held_values(self, obs: pd.DataFrame) -> NDArray[np.float64]:
        first = self._first
        return first.held_values(obs) if _holds(first) else np.empty((len(obs), 0))

    def check_rows(self, rows: NDArray[np.float64]) -> None:
        if isinstance(self._first, ChecksRows):
            self._first.check_rows(rows)

    def announce(self, n_rows: int) -> None:
        for stage in self.stages.values():
            if isinstance(stage, OfModel) and isinstance(stage.model, Announces):
                stage.model.announce(n_rows)

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
        stages = self.stages_in(dtype)
        for title in titles:
            try:
                values = stages[title](values)
            except Exception as error:
                error.add_note(f"This was in the stage {title!r} of {self.name}.")
                raise
            if isinstance(values, np.ndarray):
                values = torch.as_tensor(values, device=self.device(dtype)).to(dtype)
        return values

    def stages_in(self, dtype: torch.dtype) -> dict[str, Stage]:
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


def _ready(stages: Mapping[str, Any], device: str | torch.device) -> dict[str, Stage]:
    """The stages as they are called, checked."""
    made = {
        str(title): as_stage(stage, str(title), last=k == len(stages) - 1, device=device)
        for k, (title, stage) in enumerate(stages.items())
    }
    for function in _functions(made.values()):
        if isinstance(function, nn.Module):
            check_eval(function)
    return made


def _matched(
    given: tuple[str, ...] | None, known: tuple[str, ...] | None, title: str
) -> tuple[str, ...] | None:
    """Names of the features: those given, which must be those that the first stage knows."""
    if given is None or known is None or given == known:
        return known if given is None else given
    place = next((i for i, (a, b) in enumerate(zip(given, known, strict=False)) if a != b), None)
    where = (
        f"{len(given)} names for {len(known)} features"
        if place is None
        else f"name {place} is {given[place]!r}, not {known[place]!r}"
    )
    msg = (
        f"`feature_names` are not those that the stage {title!r} was fitted with: {where}. "
        "Leave them out, and let the chain take its features by name: "
        "sx.models.as_model(chain, columns=adata.var_names)."
    )
    raise ValueError(msg)


def _shape(shape: tuple[int, ...] | None, names: tuple[str, ...] | None) -> tuple[int, ...] | None:
    if shape is None:
        return None if names is None else (len(names),)
    found = tuple(int(size) for size in shape)
    if names is not None and int(np.prod(found)) != len(names):
        msg = f"an input of shape {found} has {np.prod(found)} values; {len(names)} have names."
        raise ValueError(msg)
    return found


def _holds(model: Model | None) -> TypeGuard[HoldsCovariates]:
    return isinstance(model, HoldsCovariates)


def _functions(stages: Iterable[Stage]) -> list[Stage]:
    """What is called in the end: stages, and functions of those that treat parts alone."""
    return [
        function
        for stage in stages
        for function in (stage.functions if isinstance(stage, Each) else [stage])
    ]


def _home(stage: Stage) -> torch.device | None:
    modules = [function for function in _functions([stage]) if isinstance(function, nn.Module)]
    return next((p.device for module in modules for p in module.parameters()), None)


def _copied(stage: Stage, where: torch.device, dtype: torch.dtype) -> Stage:
    if isinstance(stage, Each):
        return stage.with_functions([_copied(f, where, dtype) for f in stage.functions])
    return _clone(stage, where, dtype) if isinstance(stage, nn.Module) else stage


def _clone(module: nn.Module, where: torch.device, dtype: torch.dtype) -> nn.Module:
    clone = copy.deepcopy(module).to(device=where, dtype=dtype)
    return clone.requires_grad_(requires_grad=False)
