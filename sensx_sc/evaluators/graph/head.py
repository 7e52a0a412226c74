"""What is left of a graph behind the affine stem."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor, fx, nn

from sensx_sc.evaluators.graph.columns import Rows
from sensx_sc.evaluators.graph.operations import BATCH
from sensx_sc.evaluators.graph.tracing import Unknown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sensx_sc.evaluators.stem.stem import Branch


def make_head(
    nodes: Iterable[fx.Node],
    values: Mapping[fx.Node, Any],
    branches: Mapping[fx.Node, tuple[Branch, ...]],
    root: nn.Module,
) -> fx.GraphModule:
    """A module from the outputs of branches to the outputs of the model.

    Parameters
    ----------
    nodes
        Of the model, in order.
    values
        What is known of them: what is not is worked out by the head.
    branches
        What the sum is of each affine layer.
    root
        Holds the parts of the model; the constants of the head are added to it.
    """
    head = _Head(values, root)
    head.take(branches)
    for node in nodes:
        if isinstance(values[node], Unknown):
            head.copies[node] = head.graph.node_copy(node, head.copy)
    made = fx.GraphModule(root, head.graph)
    made.recompile()
    return made


class _Head:
    """A graph in the making."""

    def __init__(self, values: Mapping[fx.Node, Any], root: nn.Module) -> None:
        self.values, self.root = values, root
        self.graph = fx.Graph()
        self.copies: dict[fx.Node, Any] = {}
        self.n_constants = 0

    def take(self, branches: Mapping[fx.Node, tuple[Branch, ...]]) -> None:
        """Inputs for the branches, put together as the layers' outputs."""
        names = (f"branch_{i}" for i in range(sum(map(len, branches.values()))))
        inputs = {node: [self.graph.placeholder(next(names)) for _ in parts]
                  for node, parts in branches.items()}  # fmt: skip
        self.any = next(iter(inputs.values()))[0]
        for node, parts in inputs.items():
            total, *others = parts
            for other in others:
                total = self.graph.call_method("add", (total, other))
            shape = self.values[node].shape
            if len(shape) != 1:
                total = self.graph.call_method("reshape", (total, (-1, *shape)))
            self.copies[node] = total

    def copy(self, node: fx.Node) -> Any:
        """A node of the head's graph, or a number, for a node of the model's."""
        if node not in self.copies:
            self.copies[node] = self._constant(self.values[node])
        return self.copies[node]

    def _constant(self, value: Any) -> Any:
        if isinstance(value, Rows):
            ones = (1 for _ in value.shape)
            return self.graph.call_method(
                "repeat", (self._constant(value.row), self._constant(BATCH), *ones)
            )
        if value is BATCH:
            return self.graph.call_method("size", (self.any, 0))
        if isinstance(value, Tensor):
            name = f"_constant_{self.n_constants}"
            self.n_constants += 1
            self.root.register_buffer(name, value)
            return self.graph.get_attr(name)
        if isinstance(value, tuple | list):
            return tuple(self._constant(part) for part in value)
        return value
