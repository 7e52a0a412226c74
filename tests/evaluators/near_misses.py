# ruff: noqa: E501 - a table of models, one a line
"""Small models that only look as if they started with something affine."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable

_ZOO = runpy.run_path(str(Path(__file__).parent / "zoo.py"))
N, Model = _ZOO["N"], _ZOO["Model"]
first, tail, net, ends, by_hook = (
    _ZOO[name] for name in ("first", "tail", "net", "ends", "by_hook")
)


class Scaled(nn.Linear):
    """No linear layer, whatever its base class is."""

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return super().forward(rows * rows.abs().mean(1, keepdim=True))


class Stash(nn.Module):
    """Keeps its input where another module finds it."""

    def __init__(self, place: list[torch.Tensor]) -> None:
        super().__init__()
        self.place, self.first = place, first()

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        self.place[:] = [rows]
        return self.first(rows)


def hidden_skip(m: Any, x: torch.Tensor) -> torch.Tensor:
    return m.stash(x) + m.stash.place[0][:, :8]


def skipping_hooks() -> nn.Module:
    net, kept = nn.Sequential(first(), nn.Tanh(), nn.Linear(8, 8)), {}
    by_hook(net[0], lambda _, given: kept.update(x=given[0]), before=True)
    by_hook(net[2], lambda _, __, out: out + kept["x"][:, :8])
    return net


def attend(m: Any, x: torch.Tensor) -> torch.Tensor:
    weights = torch.softmax(x * m.a, dim=1)
    return m.tail(m.first(x * weights))


def changes_what_is_read_again(m: Any, x: torch.Tensor) -> torch.Tensor:
    same = x
    x += 1
    return m.a(x) + m.b(same)


def sets_a_gene(m: Any, x: torch.Tensor) -> torch.Tensor:
    x[:, 0] = 0
    return m.first(x)


def changes_a_view(m: Any, x: torch.Tensor) -> torch.Tensor:
    x[:, :5].mul_(2)
    return m.first(x)


def changes_a_constant(m: Any, x: torch.Tensor) -> torch.Tensor:
    m.scale.mul_(1.5)
    return m.first(x * m.scale)


def autocast(m: Any, x: torch.Tensor) -> torch.Tensor:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return m.first(x).to(x.dtype)


def tries(m: Any, x: torch.Tensor) -> torch.Tensor:
    try:
        if len(x) > 4:
            return m.first(x)
    except Exception:  # noqa: BLE001
        return m.first(2 * x)
    return m.first(3 * x)


WITHOUT_STEM: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "residual input": (lambda: Model(lambda m, x: m.out(x + m.b(torch.relu(m.a(x)))), a=first(), b=nn.Linear(8, N), out=nn.Linear(N, 1)), "add"),
    "own library size": (lambda: net(lambda m, x: x / x.sum(1, keepdim=True)), "truediv"),
    "attention over genes": (lambda: Model(attend, a=torch.randn(N), first=first(), tail=tail()), "softmax"),
    "layer norm first": (lambda: nn.Sequential(nn.LayerNorm(N), nn.Linear(N, 8), tail()), "LayerNorm"),
    "product of genes": (lambda: net(lambda m, x: x * x.flip(1)), "mul"),
    "difference of genes": (lambda: net(lambda m, x: x[:, :30] - x[:, 30:], first=first(30)), "sub"),
    "maximum of inputs": (lambda: ends(lambda m, x: m.tail(m.first(x)) + x.max(dim=1, keepdim=True).values), "max"),
    "two factors": (lambda: Model(lambda m, x: (m.a(x) @ x.T).sum(1, keepdim=True), a=nn.Linear(N, N)), "getattr"),
    "data-dependent": (lambda: Model(lambda m, x: m.first(x) if x.sum() > 0 else -m.first(x), first=nn.Linear(N, 1)), "sum"),
    "the input in the output": (lambda: Model(lambda m, x: torch.cat([m.first(x), x], 1), first=nn.Linear(N, 1)), "cat"),
    "wide": (lambda: nn.Sequential(nn.Linear(N, 50), tail(50)), "50 outputs for 60 features"),
    "wide by two functions": (lambda: nn.Sequential(Model(lambda m, x: m.a(torch.cat([x, torch.log1p(x)], 1)), a=nn.Linear(2 * N, 20)), tail(20)), "40 outputs for 60 features"),
    "embedding": (lambda: Model(lambda m, x: m.e(x.long()).sum((1, 2)), e=nn.Embedding(10, 2)), "Embedding"),
    "table of values": (lambda: net(lambda m, x: m.table[:, x.long()][0].to(x.dtype), table=torch.arange(100)[None]), "getitem"),
    "convolution": (lambda: nn.Sequential(nn.Unflatten(1, (1, N)), nn.Conv1d(1, 2, 3), nn.Flatten(), nn.Linear(2 * N - 4, 1)), "116 outputs for 60 features"),
    "maximum pooling": (lambda: nn.Sequential(nn.Unflatten(1, (3, 20)), nn.MaxPool1d(4), nn.Flatten(), nn.Linear(15, 1)), "MaxPool1d"),
    "convolution across rows": (lambda: nn.Conv1d(11, 1, 3), "Conv1d"),
    # The library, and other rows.
    "log of proportions": (lambda: net(lambda m, x: torch.log1p(1e4 * x / x.sum(1, keepdim=True))), "truediv"),
    "normalized": (lambda: net(lambda m, x: functional.normalize(x)), "normalize"),
    "layer norm function": (lambda: net(lambda m, x: functional.layer_norm(x, (N,))), "layer_norm"),
    "standardized by itself": (lambda: net(lambda m, x: (x - x.mean(1, keepdim=True)) / x.std(1, keepdim=True)), "sub"),
    "where the library is large": (lambda: net(lambda m, x: torch.where(x.sum(1, keepdim=True) > 5, x, -x)), "where"),
    "where the genes are": (lambda: ends(lambda m, x: m.first(x) + torch.where(x > 0)[0].sum()), "where"),
    "batch mean": (lambda: net(lambda m, x: x - x.mean(0)), "mean"),
    "batch statistics": (lambda: nn.Sequential(nn.BatchNorm1d(N, track_running_stats=False), first()), "BatchNorm1d"),
    "batch norm in training": (lambda: net(lambda m, x: functional.batch_norm(x, None, None, training=True)), "batch_norm"),
    "rows rolled": (lambda: net(lambda m, x: x.roll(6, 0)), "roll"),
    "rows mixed by a view": (lambda: net(lambda m, x: x.view(-1, 2 * N)[:, :N]), "view"),
    "the first rows": (lambda: net(lambda m, x: x[..., :500, :]), "getitem"),
    "rows in parts": (lambda: net(lambda m, x: torch.split(x, 500)[0]), "split"),
    "row number": (lambda: net(lambda m, x: torch.cat([x, torch.arange(x.shape[0], dtype=x.dtype)[:, None]], 1), first=first(N + 1)), "cat"),
    "divided by the number of rows": (lambda: net(lambda m, x: x / x.shape[0]), "truediv"),
    "choice on the number of rows": (lambda: net(lambda m, x: x if len(x) > 4 else 2 * x), "a choice"),
    "choice that is caught": (lambda: ends(tries), "a choice"),
    "squeezed rows": (lambda: net(lambda m, x: x.squeeze()), "squeeze"),
    # Along the genes.
    "sorted": (lambda: net(lambda m, x: x.sort(1).values), "sort"),
    "ranks": (lambda: net(lambda m, x: x.argsort(1).argsort(1).to(x.dtype)), "argsort"),
    "cumulative sum": (lambda: net(lambda m, x: x.cumsum(1)), "cumsum"),
    "running maximum": (lambda: net(lambda m, x: x.cummax(1).values), "cummax"),
    "weights made of the input": (lambda: Model(lambda m, x: functional.linear(x, m.w * x.mean()), w=torch.randn(8, N)), "mean"),
    "detected genes, counted": (lambda: ends(lambda m, x: m.first(x) + (x > 1).sum(1, keepdim=True)), "sum"),
    "rounded sum": (lambda: ends(lambda m, x: m.first(x) + x.sum(1, keepdim=True, dtype=torch.long)), "sum"),
    "new tensor": (lambda: net(lambda m, x: x.new_tensor(x) + x), "new_tensor"),
    # By another way than the graph.
    "hidden skip": (lambda: Model(hidden_skip, stash=Stash([])), "add"),
    "skipping hooks": (skipping_hooks, "add"),
    "scaling subclass": (lambda: nn.Sequential(Scaled(N, 8), tail()), "mul"),
    "changed and read again": (lambda: Model(changes_what_is_read_again, a=first(), b=first()), "iadd"),
    "activation in place, read again": (lambda: Model(lambda m, x: m.a(m.relu(x)) + m.b(x), a=first(), b=first(), relu=nn.ReLU(inplace=True)), "ReLU"),
    "a gene set": (lambda: ends(sets_a_gene), "setitem"),
    "a view changed": (lambda: ends(changes_a_view), "mul_"),
    "a constant changed": (lambda: ends(changes_a_constant, scale=torch.ones(N)), "mul_"),
    "written elsewhere": (lambda: net(lambda m, x: torch.log1p(x, out=m.buffer), buffer=torch.zeros(1, N)), "log1p"),
    "dropout that stays": (lambda: net(lambda m, x: functional.dropout(x, 0.3)), "dropout"),
    "dropped connections": (lambda: Model(lambda m, x: functional.linear(x, functional.dropout(m.w, 0.5)), w=nn.Parameter(torch.randn(8, N))), "another each time"),
    "noise": (lambda: net(lambda m, x: x + torch.randn(N)), "another each time"),
    "noise of numpy": (lambda: net(lambda m, x: x * float(np.random.default_rng().random())), "another each time"),
    "autocast": (lambda: ends(autocast), "autocast"),
    "infinite at zero": (lambda: net(lambda m, x: torch.log(x)), "not finite"),
    "values asserted": (lambda: net(lambda m, x: (torch._assert((x >= 0).all(), "negative"), x)[1]), "all"),
    "number of rows in the rows": (lambda: net(lambda m, x: torch.cat([x, x.new_zeros(x.shape[0], x.shape[0])], 1), first=first(N + 11)), "new_zeros"),
    "no tensor": (lambda: Model(lambda m, x: {"scores": m.first(x)}, first=first()), "does not return a tensor"),
    "no layer": (lambda: Model(lambda m, x: x[:, :3]), "output"),
    "numpy": (lambda: net(lambda m, x: torch.as_tensor(x.numpy() * 2)), "traced"),
}  # fmt: skip
