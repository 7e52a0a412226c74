"""Values that depend on one feature each, number by number, and what affine layers make of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from sensx_sc.evaluators.stem.stem import Branch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import Tensor

    Curve = Callable[[Tensor, Tensor], Tensor]
    """Values of features (..., k) and the numbers that are made of them (k,) -> these numbers."""

_MOST_NUMBERS = 2**26  # in one array of the analysis: a layer's weights, or its inputs


class NoStemError(Exception):
    """Why a module has no affine stem that can be proved."""


@dataclass(frozen=True)
class Columns:
    """A value (B, *shape) each of whose m numbers is a function of one feature of its row.

    Attributes
    ----------
    shape
        Of a row.
    source
        The feature that each number depends on, (m,); -1 for a constant.
    scale, shift
        A number that is not curved is scale * x + shift, (m,).
    curved
        Which numbers are not affine in their feature, (m,).
    curve
        What the numbers are, the affine ones too; None where all are affine.
    """

    shape: tuple[int, ...]
    source: Tensor
    scale: Tensor
    shift: Tensor
    curved: Tensor
    curve: Curve | None = None

    @property
    def sample(self) -> Tensor:
        """No numbers, of the type and on the device of these, (0,)."""
        return self.values(self.scale[:0], self.source[:0])

    def values(self, x: Tensor, at: Tensor) -> Tensor:
        """Some of the numbers (k,), given the values of their features, both (..., k)."""
        return x * self.scale[at] + self.shift[at] if self.curve is None else self.curve(x, at)

    def picked(self, places: Tensor) -> Columns:
        """The numbers at some places, in the shape of the places."""
        flat, inner = places.reshape(-1), self.curve
        curved = self.curved[flat]

        def curve(x: Tensor, at: Tensor) -> Tensor:
            return self.values(x, flat[at])

        return Columns(
            tuple(places.shape),
            self.source[flat],
            self.scale[flat],
            self.shift[flat],
            curved,
            None if inner is None or not curved.any() else curve,
        )

    def spread(self, shape: tuple[int, ...]) -> Columns:
        """Broadcast to a larger shape."""
        if shape == self.shape:
            return self
        affordable(math.prod(shape))
        places = torch.arange(len(self.source), device=self.source.device)
        return self.picked(places.reshape(self.shape).expand(shape))

    def scaled(self, scale: Tensor, shift: Tensor) -> Columns:
        """Affine numbers times a scale plus a shift, each (m,) or one number."""
        moved = (self.scale * scale, self.shift * scale + shift)
        return Columns(self.shape, self.source, *moved, self.curved)

    def branches(self, rows: Tensor, bias: Tensor | None, n_features: int) -> tuple[Branch, ...]:
        """What an affine layer makes of the numbers, as a sum of branches.

        One branch is enough unless a feature enters the layer by several functions.

        Parameters
        ----------
        rows
            The layer's weights, (m, H): what it adds for each number.
        """
        offset = rows.new_zeros(rows.shape[1]) if bias is None else bias.clone()
        constant = (self.source < 0).nonzero().ravel()
        if len(constant):
            offset = offset + self.values(rows.new_zeros(len(constant)), constant) @ rows[constant]
        made = [
            self._branch(rows, places, n_features) for places in self._groups() if len(places)
        ] or [Branch(rows.new_zeros(n_features, rows.shape[1]), torch.zeros_like(offset), None)]
        first = made[0]
        return (Branch(first.weight, first.bias + offset, first.phi), *made[1:])

    def _groups(self) -> Iterator[Tensor]:
        """Places of numbers that fit in one branch."""
        live, curved = self.source >= 0, self.curved
        feature = self.source[live]
        if not curved[live].any() or len(torch.unique(feature)) == len(feature):
            yield live.nonzero().ravel()
            return
        yield (live & ~curved).nonzero().ravel()
        rest = (live & curved).nonzero().ravel()
        while len(rest):
            feature = self.source[rest]
            last = torch.zeros(int(feature.max()) + 1, dtype=torch.long, device=rest.device)
            last.scatter_reduce_(0, feature, rest, "amax")
            chosen = last[feature] == rest
            yield rest[chosen]
            rest = rest[~chosen]

    def _branch(self, rows: Tensor, places: Tensor, n_features: int) -> Branch:
        feature, rows = self.source[places], rows[places]
        weight = rows.new_zeros(n_features, rows.shape[1])
        if not self.curved[places].any():
            offset = self.shift[places] @ rows
            rows *= self.scale[places, None]
            return Branch(weight.index_add_(0, feature, rows), offset, None)
        weight[feature] = rows
        place = torch.full((n_features,), -1, device=places.device)
        place[feature] = places
        whole = len(feature) == n_features

        def phi(x: Tensor, features: Tensor) -> Tensor:
            at = place[features]
            if whole:
                return self.values(x, at)
            # Features that the layer does not read must not bring in what is not finite.
            return self.values(x, at.clamp(min=0)).where(at >= 0, 0)

        at_zero = phi(weight.new_zeros(n_features), torch.arange(n_features, device=place.device))
        if not at_zero.isfinite().all():
            msg = "its affine stem is not finite where a feature is zero"
            raise NoStemError(msg)
        return Branch(weight, rows.new_zeros(rows.shape[1]), phi)


@dataclass(frozen=True)
class Rows:
    """A value (B, *shape) whose rows are one and the same constant row (1, *shape)."""

    row: Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        """Of a row."""
        return tuple(self.row.shape[1:])

    @property
    def sample(self) -> Tensor:
        """No numbers, of the type and on the device of these, (0,)."""
        return self.row.reshape(-1)[:0]


def affordable(numbers: int) -> None:
    """Refuse arrays that are too large to analyse.

    Raises
    ------
    NoStemError
        With the size.
    """
    if numbers > _MOST_NUMBERS:
        msg = f"an affine layer of it would take {numbers:,} numbers to write out"
        raise NoStemError(msg)


def features(n: int, dtype: torch.dtype, device: torch.device) -> Columns:
    """The input itself."""
    ones = torch.ones(n, dtype=dtype, device=device)
    source = torch.arange(n, device=device)
    return Columns((n,), source, ones, torch.zeros_like(ones), ones == 0)


def constant(rows: Rows, like: Tensor) -> Columns:
    """Constant rows as columns, in the type of ``like``."""
    shift = rows.row.reshape(-1).to(like.dtype)
    source = torch.full_like(shift, -1, dtype=torch.long)
    return Columns(rows.shape, source, torch.zeros_like(shift), shift, source >= 0)


def pooled(parts: Sequence[Columns]) -> Columns:
    """The numbers of several values, one after the other, (m,)."""
    sizes = torch.tensor([len(part.source) for part in parts])
    starts = (torch.cumsum(sizes, 0) - sizes).tolist()
    source, scale, shift, curved = (
        torch.cat([getattr(part, name) for part in parts])
        for name in ("source", "scale", "shift", "curved")
    )

    def curve(x: Tensor, at: Tensor) -> Tensor:
        out = x * scale[at] + shift[at]
        for part, start in zip(parts, starts, strict=True):
            if part.curve is not None:
                own = at - start
                inside = (own >= 0) & (own < len(part.source))
                values = part.curve(x, own.clamp(0, len(part.source) - 1))
                out = torch.where(inside, values, out)
        return out

    curves = any(part.curve is not None for part in parts)
    return Columns((len(source),), source, scale, shift, curved, curve if curves else None)


def elementwise(
    function: Callable[..., Tensor], arguments: Sequence[Any], shape: tuple[int, ...]
) -> Columns | None:
    """A function of columns and constants, number by number.

    Parameters
    ----------
    function
        Elementwise in its arguments.
    arguments
        Columns and tensors that broadcast to ``shape``, and anything else.

    Returns
    -------
    None where some number would depend on two features.
    """
    spread = [_spread(argument, shape) for argument in arguments]
    columns = [argument for argument in spread if isinstance(argument, Columns)]
    source = torch.stack([part.source for part in columns]).amax(0)
    if any(((part.source != source) & (part.source >= 0)).any() for part in columns):
        return None

    def curve(x: Tensor, at: Tensor) -> Tensor:
        return function(*(_values(argument, x, at) for argument in spread))

    first = columns[0]
    everywhere = torch.ones_like(source, dtype=torch.bool)
    return Columns(shape, source, first.scale, first.shift, everywhere, curve)


def _spread(argument: Any, shape: tuple[int, ...]) -> Any:
    if isinstance(argument, Columns):
        return argument.spread(shape)
    # A tensor without dimensions takes part in type promotion as a number does.
    if isinstance(argument, torch.Tensor) and argument.ndim:
        affordable(math.prod(shape))
        return argument.expand(shape).reshape(-1)
    return argument


def _values(argument: Any, x: Tensor, at: Tensor) -> Any:
    if isinstance(argument, Columns):
        return argument.values(x, at)
    return argument[at] if isinstance(argument, torch.Tensor) and argument.ndim else argument
