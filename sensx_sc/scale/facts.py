"""What a run depends on, and in what two runs differ."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sensx_sc.core.arrays import Bools, Floats, Ints

_SAME_MODEL = 1e-4  # relative difference of outputs that another machine may show
_ONE_MANIFEST = ("params", "statistics", "keep", "names", "output_names")


@dataclass(frozen=True)
class Facts:
    """What a run depends on.

    Attributes
    ----------
    params
        Its parameters, JSON-safe.
    statistics, keep
        What is kept: names of the statistics, and ``"all"`` or ``"top:500"``.
    names, output_names
        Names of the features and of the outputs.
    cells, target
        Rows of the AnnData that are explained, and the index of each one's explained output; -1
        where it could not be told, since the model failed. (C,)
    lower, upper, tested
        The domain, (n,).
    groups
        The group of each feature in each partition, one after the other, and what else tells one
        grouping, or kinds of features, from another; empty where each changes alone.
    deltas
        The scales.
    outputs
        The response at fixed rows, which tells another model; NaN where it raised. Any shape.
    """

    params: dict[str, Any]
    statistics: tuple[str, ...]
    keep: str
    names: tuple[str, ...]
    output_names: tuple[str, ...]
    cells: Ints
    target: Ints
    lower: Floats
    upper: Floats
    tested: Bools
    groups: Ints
    deltas: Floats
    outputs: Floats

    def manifest(self) -> dict[str, Any]:
        """The JSON-safe part."""
        found = {name: getattr(self, name) for name in _ONE_MANIFEST}
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in found.items()
        }

    def arrays(self) -> dict[str, np.ndarray]:
        """The rest."""
        others = (field.name for field in fields(self) if field.name not in _ONE_MANIFEST)
        return {name: np.asarray(getattr(self, name)) for name in others}

    @classmethod
    def of(cls, manifest: dict[str, Any], arrays: dict[str, np.ndarray]) -> Facts:
        """What :meth:`manifest` and :meth:`arrays` took apart."""
        told: dict[str, Any] = {
            name: tuple(manifest[name]) if isinstance(manifest[name], list) else manifest[name]
            for name in _ONE_MANIFEST
        }
        return cls(**(told | arrays))


def differences(before: Facts, now: Facts, cell_names: Sequence[str]) -> list[str]:
    """In what a run differs from an earlier one, a clause each; empty if it is the same run."""
    return [
        *_in_params(before.params, now.params),
        *(
            f"{name} was {_short(getattr(before, name))}, is {_short(getattr(now, name))}"
            for name in ("statistics", "keep")
            if getattr(before, name) != getattr(now, name)
        ),
        *_in_names("feature", before.names, now.names),
        *_in_names("output", before.output_names, now.output_names),
        *_in_cells(before, now, cell_names),
        *_in_domain(before, now),
        *_in_groups(before, now),
        *_in_deltas(before.deltas, now.deltas),
        *_in_model(before.outputs, now.outputs),
    ]


def _in_groups(before: Facts, now: Facts) -> Iterator[str]:
    if len(before.groups) != len(now.groups):
        yield "features are grouped in another way"
    elif (off := np.flatnonzero(before.groups != now.groups)).size:
        yield f"{off.size} features are in other groups, the first number {off[0] % len(now.lower)}"


def _in_params(before: dict[str, Any], now: dict[str, Any]) -> Iterator[str]:
    for name in sorted(set(before) | set(now)):
        if before.get(name) != now.get(name):
            yield f"{name} was {_short(before.get(name))}, is {_short(now.get(name))}"


def first_difference(before: Sequence[str], now: Sequence[str]) -> int | None:
    """Where two lists of names differ first; None if they do not."""
    if tuple(before) == tuple(now):
        return None
    pairs = enumerate(zip(before, now, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(before), len(now)))


def _in_names(what: str, before: Sequence[str], now: Sequence[str]) -> Iterator[str]:
    if len(before) != len(now):
        yield f"there were {len(before)} {what}s, now {len(now)}"
    elif (i := first_difference(before, now)) is not None:
        yield f"{what} {i} was {str(before[i])!r}, is {str(now[i])!r}"


def _in_cells(before: Facts, now: Facts, names: Sequence[str]) -> Iterator[str]:
    for label, some, others in (
        ("were not to be explained before", now.cells, before.cells),
        ("are left out now", before.cells, now.cells),
    ):
        more = np.setdiff1d(some, others)
        if len(more):
            yield f"{len(more)} cells {label}, the first {str(names[more[0]])!r}"
    both, i, j = np.intersect1d(before.cells, now.cells, return_indices=True)
    was, now_is = before.target[i], now.target[j]
    other = np.flatnonzero((was != now_is) & (was >= 0) & (now_is >= 0))
    if len(other) and before.output_names == now.output_names:
        k = other[0]
        yield (
            f"the target of {len(other)} cells was another, the first "
            f"{str(names[both[k]])!r}: {before.output_names[was[k]]!r}, "
            f"now {now.output_names[now_is[k]]!r}"
        )


def _in_domain(before: Facts, now: Facts) -> Iterator[str]:
    if len(before.lower) != len(now.lower):
        return
    other = np.flatnonzero((before.lower != now.lower) | (before.upper != now.upper))
    if len(other):
        j = other[0]
        yield (
            f"the domain of {len(other)} features was another, the first {_feature(before, j)}: "
            f"{before.lower[j]:g} to {before.upper[j]:g}, now {now.lower[j]:g} to {now.upper[j]:g}"
        )
    for label, some, others in (
        ("were not tested before", now.tested, before.tested),
        ("are not tested now", before.tested, now.tested),
    ):
        more = np.flatnonzero(some & ~others)
        if len(more):
            yield f"{len(more)} features {label}, the first {_feature(before, more[0])}"


def _feature(facts: Facts, j: int) -> str:
    """The name of a feature, or its number where the names are those of groups."""
    return repr(facts.names[j]) if not len(facts.groups) else f"number {j}"


def _in_deltas(before: Floats, now: Floats) -> Iterator[str]:
    if not np.array_equal(before, now):
        yield f"deltas were {_scales(before)}, are {_scales(now)}"


def _scales(deltas: Floats) -> str:
    if len(deltas) <= 6:
        return "[" + ", ".join(f"{delta:g}" for delta in deltas) + "]"
    return f"{len(deltas)} from {deltas[0]:g} to {deltas[-1]:g}"


def _in_model(before: Floats, now: Floats) -> Iterator[str]:
    if before.shape != now.shape:
        return  # another number of explained outputs, which is said before
    known = np.isfinite(before) & np.isfinite(now)
    size = np.abs(now[known]).max(initial=0.0)
    other = known & ~np.isclose(before, now, rtol=_SAME_MODEL, atol=_SAME_MODEL * size)
    if other.any():
        a, b = before[other][0], now[other][0]
        yield (
            f"the model gives other outputs at {np.count_nonzero(other)} of {other.size} rows, "
            f"such as {a:.4g}, now {b:.4g}"
        )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 60 else text[:57] + "..."
