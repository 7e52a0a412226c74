"""A fitted tree ensemble as flat arrays."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from sensx_sc.evaluators.protocol import Floats, Ints

    Bools = NDArray[np.bool_]
    Sums = NDArray[np.floating]


class Tree(NamedTuple):
    """One tree as the reader of its library yields it; nodes are numbered from the root, 0.

    Attributes
    ----------
    left, right
        Children, (m,); negative for a leaf.
    feature, threshold
        A node sends values up to the threshold to the left, (m,).
    leaf
        What a leaf adds, (m,) or (m, L), in the type of the library's sums.
    column
        The first of the sums that it adds to.
    missing_left
        Whether a missing value goes to the left, (m,); None where no value of a row is missing.
    """

    left: Ints
    right: Ints
    feature: Ints
    threshold: Floats
    leaf: Sums
    column: int = 0
    missing_left: Bools | None = None


@dataclass(frozen=True)
class TreeEnsemble:
    """The T trees of a model, joined.

    Attributes
    ----------
    used
        The U features that some tree splits on, ascending.
    child
        Left and right child of each of the N nodes, (2 N,); negative for a leaf.
    feature, threshold
        What a node compares, (N,); the feature is a position in ``used``.
    leaf
        What a leaf adds to the sums, (N, L).
    tree
        Which tree a node belongs to, (N,).
    root, column, n_leaves, n_split
        Of each tree, (T,): its first node, the first sum that it adds to, how many leaves it has,
        and how many features it splits on.
    start
        What the sums start from, (K,), in the library's own type.
    link
        From sums (B, K) to the model's outputs.
    rounded
        From values of features to what the trees compare.
    missing, missing_left
        The value that counts as missing, if any, and whether nodes send it to the left, (N,).
    separable
        Every tree adds to all sums, and an output depends on the sum of its own number only.
    """

    used: Ints
    child: Ints
    feature: Ints
    threshold: Floats
    leaf: Sums
    tree: Ints
    root: Ints
    column: Ints
    n_leaves: Ints
    n_split: Ints
    start: Sums
    link: Callable[[Sums], Floats]
    rounded: Callable[[Floats], Floats]
    missing: float | None
    missing_left: Bools
    separable: bool

    def only(self, k: int) -> TreeEnsemble:
        """The ensemble of one output of a separable ensemble."""
        return replace(self, leaf=self.leaf[:, k : k + 1], start=self.start[k : k + 1])

    def goes_right(self, node: Ints, value: Floats) -> Bools:
        """Which way some nodes send rounded values of their features."""
        right: Bools = value > self.threshold.take(node)
        if self.missing is not None:
            absent = value == self.missing
            right[absent] = ~self.missing_left[node[absent]]
        return right


class Reading(NamedTuple):
    """What a fitted estimator turned out to hold.

    Attributes
    ----------
    used
        The features that some tree splits on.
    ensemble
        The trees, or why they cannot be evaluated here.
    """

    used: Ints
    ensemble: TreeEnsemble | str


class UnreadableError(Exception):
    """The trees of a model are not understood; the message says why."""


def make_ensemble(
    trees: Sequence[Tree],
    start: Sums,
    link: Callable[[Sums], Floats],
    rounded: Callable[[Floats], Floats],
    *,
    missing: float | None = None,
    separable: bool = False,
) -> TreeEnsemble:
    """Join trees, in the order in which their library sums them."""
    sizes = [len(tree.left) for tree in trees]
    root = np.cumsum([0, *sizes[:-1]])
    child = np.concatenate([np.stack([tree.left, tree.right], axis=1) for tree in trees])
    inner = child[:, 0] >= 0
    of_tree = np.repeat(np.arange(len(trees)), sizes)
    child = np.where(inner[:, None], child + root[of_tree, None], -1)
    features = np.concatenate([tree.feature for tree in trees])
    used, position = np.unique(features[inner], return_inverse=True)
    feature = np.zeros(len(inner), dtype=np.int64)
    feature[inner] = position
    pairs = np.unique(of_tree[inner] * max(len(used), 1) + position)
    missing_left = [
        np.zeros(len(tree.left), dtype=bool) if tree.missing_left is None else tree.missing_left
        for tree in trees
    ]
    return TreeEnsemble(
        used=used.astype(np.int64),
        child=child.astype(np.int64).ravel(),
        feature=feature,
        threshold=np.concatenate([tree.threshold for tree in trees]).astype(np.float64),
        leaf=np.concatenate([tree.leaf for tree in trees]).reshape(len(inner), -1),
        tree=of_tree,
        root=root,
        column=np.array([tree.column for tree in trees]),
        n_leaves=np.bincount(of_tree, weights=~inner).astype(np.int64),
        n_split=np.bincount(pairs // max(len(used), 1), minlength=len(trees)),
        start=start,
        link=link,
        rounded=rounded,
        missing=missing,
        missing_left=np.concatenate(missing_left),
        separable=separable,
    )


def single(values: Floats) -> Floats:
    """Values as a library sees them that keeps features in float32."""
    return values.astype(np.float32).astype(np.float64)
