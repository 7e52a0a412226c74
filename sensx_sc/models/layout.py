"""In which order rows hold the values of images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable


@dataclass(frozen=True)
class Layout:
    """In which order the rows of a model hold the values of an image.

    Attributes
    ----------
    dims
        The dimensions ``"tile"``, ``"c"``, ``"y"``, ``"x"``, the last of them changing fastest.
    tiles
        Names of the tiles in the model's order; None: as they come.
    """

    dims: tuple[str, ...] = ("tile", "c", "y", "x")
    tiles: tuple[str, ...] | None = None


@runtime_checkable
class HasLayout(Protocol):
    """A model that says how its rows are laid out."""

    @property
    def layout(self) -> Layout: ...
