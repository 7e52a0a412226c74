# ruff: noqa: E501 - tables of models, one a line
"""Small models of 60 features that start with something affine."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations

from sensx_sc.evaluators.full_precision import full_precision
from sensx_sc.evaluators.graph.trace import find_stem

if TYPE_CHECKING:
    from collections.abc import Callable

    from sensx_sc.evaluators.stem.stem import Stem

N = 60


class Model(nn.Module):
    """A small net whose forward pass is a function of itself and the rows."""

    def __init__(self, function: Callable[[Any, torch.Tensor], torch.Tensor], **parts: Any) -> None:
        super().__init__()
        self.function = function
        for name, part in parts.items():
            if isinstance(part, torch.Tensor) and not isinstance(part, nn.Parameter):
                self.register_buffer(name, part)
            else:
                setattr(self, name, part)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.function(self, rows)


def tail(width: int = 8, outputs: int = 3) -> nn.Sequential:
    return nn.Sequential(nn.Tanh(), nn.Linear(width, 5), nn.GELU(), nn.Linear(5, outputs))


def first(size: int = N) -> nn.Linear:
    return nn.Linear(size, 8)


def batch_norm(size: int = N) -> nn.BatchNorm1d:
    layer = nn.BatchNorm1d(size)
    layer.running_mean, layer.running_var = torch.randn(size), torch.rand(size) + 0.3
    nn.init.normal_(layer.weight)
    nn.init.normal_(layer.bias)
    return layer


def masked_linear() -> nn.Linear:
    layer = nn.Linear(N, 8)
    layer.weight.data[:, ::3] = 0
    return layer


def patches(channels: int = 2) -> nn.Module:
    stem = nn.Conv2d(2, channels, (3, 2), stride=(3, 2))
    return nn.Sequential(
        nn.Unflatten(1, (2, 6, 5)), stem, nn.ReLU(), nn.Flatten(), nn.Linear(4 * channels, 2)
    )


class Masked(nn.Linear):
    """A linear layer that does not use all its weights."""

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return functional.linear(rows, self.weight * (torch.abs(self.weight) > 0.05), self.bias)


class Twice(nn.Linear):
    """Calling it is more than its forward pass."""

    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
        return super().__call__(2 * rows)


class WithCovariates(nn.Module):
    """Covariates may be left out."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.tail = first(), tail()

    def forward(self, rows: torch.Tensor, covariates: torch.Tensor | None = None) -> torch.Tensor:
        hidden = self.first(rows)
        return self.tail(hidden if covariates is None else hidden + covariates)


class Lazy(nn.Module):
    """Makes its mask when it is first called."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.tail = first(), tail()
        self.mask: torch.Tensor | None = None

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        if self.mask is None:
            self.mask = torch.arange(rows.shape[1], dtype=rows.dtype, device=rows.device) % 3
        return self.tail(self.first(rows * self.mask))


def with_plain_tensor(model: nn.Module) -> nn.Module:
    model.c = torch.randn(1, 3)  # no buffer
    return model


def scvi(m: Any, x: torch.Tensor) -> torch.Tensor:
    batch = functional.one_hot(m.batch.expand(x.shape[0]), 4).to(x.dtype)
    hidden = m.first(torch.cat([torch.log1p(x), batch], dim=-1))
    library = torch.log(1 + x.sum(1)).unsqueeze(1)
    return m.tail(hidden) + library


def split(m: Any, x: torch.Tensor) -> torch.Tensor:
    genes, others = torch.split(x, [40, 20], dim=1)
    return m.tail(m.a(torch.log1p(genes)) + m.b(others))


def chunks(m: Any, x: torch.Tensor) -> torch.Tensor:
    parts = x.chunk(3, dim=1)
    return m.tail(sum(layer(part) for layer, part in zip(m.layers, parts, strict=True)))


def narrow(m: Any, x: torch.Tensor) -> torch.Tensor:
    return m.tail(m.first(torch.index_select(x.narrow(1, 10, 40), 1, m.at)))


def checked(m: Any, x: torch.Tensor) -> torch.Tensor:
    assert x.ndim == 2
    assert x.size(1) == m.first.in_features, "other genes"
    if x.dtype != m.first.weight.dtype:
        x = x.to(m.first.weight.dtype)
    n_rows, n_genes = x.shape
    for k in range(n_genes // 20):
        x = x + k
    return m.tail(m.first(x).view(n_rows, 2, 4).transpose(1, 2).reshape(len(x), -1))


def own_in_place(m: Any, x: torch.Tensor) -> torch.Tensor:
    x = torch.log1p(x)
    x -= m.mean
    return m.tail(m.first(x.div_(m.sd)))


def head_in_place(m: Any, x: torch.Tensor) -> torch.Tensor:
    hidden = m.first(x)
    same = hidden
    hidden += m.second(x)
    same.tanh_()
    hidden[:, 0] = 0.5
    return m.tail(hidden)


def by_hook(m: nn.Module, hook: Callable[..., Any], *, before: bool = False) -> nn.Module:
    (m.register_forward_pre_hook if before else m.register_forward_hook)(hook)
    return m


def attended(m: Any, x: torch.Tensor) -> torch.Tensor:
    tokens = m.first(x).view(len(x), 2, 4)
    return m.attention(tokens, tokens, tokens)[0].flatten(1)


def built(made: str | Callable[[], nn.Module]) -> nn.Module:
    """A model of the zoo, or what makes one; in float64 and eval mode."""
    torch.manual_seed(3)
    return (WITH_STEM[made] if isinstance(made, str) else made)().double().eval()


def found(module: nn.Module, widest: int = 500) -> Stem:
    """Its stem, of the graph alone."""
    with full_precision():
        return find_stem(module, N, torch.float64, torch.device("cpu"), widest=widest)


def net(function: Callable[[Any, torch.Tensor], Any], **parts: Any) -> Model:
    """A model of a first layer and a tail."""
    return Model(
        lambda m, x: m.tail(m.first(function(m, x))), **{"first": first(), "tail": tail(), **parts}
    )


def ends(function: Callable[[Any, torch.Tensor], Any], **parts: Any) -> Model:
    return Model(function, **{"first": first(), "tail": tail(), **parts})


WITH_STEM: dict[str, Callable[[], nn.Module]] = {
    "paper": lambda: nn.Sequential(nn.Linear(N, 8), nn.ReLU(), nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 1)),
    "logistic": lambda: nn.Linear(N, 1),
    "softmax regression": lambda: nn.Linear(N, 6),
    "tanh": lambda: nn.Sequential(nn.Linear(N, 8), tail()),
    "no bias": lambda: nn.Sequential(nn.Linear(N, 8, bias=False), tail()),
    "dropout first": lambda: nn.Sequential(nn.Dropout(0.3), nn.Linear(N, 8), nn.Dropout(), tail()),
    "batch norm first": lambda: nn.Sequential(batch_norm(), nn.Linear(N, 8), tail()),
    "batch norm after": lambda: nn.Sequential(nn.Linear(N, 8), batch_norm(8), tail()),
    "layer norm after": lambda: nn.Sequential(nn.Linear(N, 8), nn.LayerNorm(8), tail()),
    "log1p first": lambda: net(lambda m, x: torch.log1p(x)),
    "method log1p": lambda: net(lambda m, x: x.log1p()),
    "scaled": lambda: net(lambda m, x: (x - m.mean) / m.sd, mean=torch.randn(N), sd=torch.rand(N) + 0.5),
    "number arithmetic": lambda: net(lambda m, x: 2 - 3 * x / 4 + 1),
    "scaled log": lambda: net(lambda m, x: torch.log1p(x * m.s) - m.t, s=torch.rand(N) + 0.1, t=torch.randn(N)),
    "reciprocal": lambda: net(lambda m, x: m.s / (x + 1), s=torch.rand(N)),
    "relu first": lambda: nn.Sequential(nn.ReLU(), nn.Linear(N, 8), tail()),
    "square first": lambda: net(lambda m, x: torch.square(x)),
    "functional linear": lambda: ends(lambda m, x: m.tail(functional.linear(x, m.w, m.b)), w=torch.randn(8, N), b=torch.randn(8)),
    "matmul": lambda: ends(lambda m, x: m.tail(x @ m.w), w=torch.randn(N, 8)),
    "slice": lambda: net(lambda m, x: x[:, 10:40], first=first(30)),
    "index list": lambda: net(lambda m, x: x[:, [5, 3, 50]], first=first(3)),
    "index tensor": lambda: net(lambda m, x: x[:, m.at], first=first(20), at=torch.randperm(N)[:20]),
    "two slices joined": lambda: net(lambda m, x: torch.cat([x[:, 40:], x[:, :10]], dim=1), first=first(30)),
    "a feature twice": lambda: net(lambda m, x: torch.cat([x, x], 1), first=first(2 * N)),
    "two branches": lambda: Model(lambda m, x: m.tail(torch.cat([torch.relu(m.a(x)), torch.tanh(m.b(x))], 1)), a=nn.Linear(N, 3), b=nn.Linear(N, 5), tail=tail()),
    "gated": lambda: Model(lambda m, x: m.tail(torch.sigmoid(m.a(x)) * m.b(torch.log1p(x))), a=first(), b=first(), tail=tail()),
    "branch on a slice": lambda: Model(lambda m, x: m.tail(m.a(x) + m.b(x[:, :20])), a=first(), b=first(20), tail=tail()),
    "linear then linear": lambda: nn.Sequential(nn.Linear(N, 8), nn.Linear(8, 8), tail()),
    "attention over parts": lambda: Model(lambda m, x: m.tail(torch.softmax(m.a(x), 1) * m.b(x)), a=first(), b=first(), tail=tail()),
    "zero columns": lambda: nn.Sequential(masked_linear(), tail()),
    "flatten": lambda: nn.Sequential(nn.Flatten(), nn.Linear(N, 8), tail()),
    "squeezed": lambda: Model(lambda m, x: m.tail(m.first(x)).squeeze(1), first=first(), tail=tail(outputs=1)),
    "library size beside": lambda: ends(lambda m, x: m.tail(m.first(x) / (1 + (x @ m.ones) ** 2)), ones=torch.ones(N, 1)),
    # Units that are bent at zero, between affine layers.
    "batch norm, relu and dropout": lambda: nn.Sequential(nn.Linear(N, 12), batch_norm(12), nn.ReLU(), nn.Dropout(), nn.Linear(12, 9), batch_norm(9), nn.ReLU(), nn.Linear(9, 3)),
    "four bent layers": lambda: nn.Sequential(*(part for a, b in itertools.pairwise((N, 14, 11, 9, 7)) for part in (nn.Linear(a, b), nn.ReLU())), nn.Linear(7, 2)),
    "leaky": lambda: nn.Sequential(nn.Linear(N, 12), nn.LeakyReLU(0.2), nn.Linear(12, 8, bias=False), nn.LeakyReLU(0.0), nn.Linear(8, 2)),
    "leaky by function": lambda: Model(lambda m, x: m.b(functional.leaky_relu(m.a(x), 0.3)), a=nn.Linear(N, 12), b=nn.Linear(12, 1)),
    "relu in place": lambda: Model(lambda m, x: m.c(torch.relu_(m.b(m.a(x).relu_()))), a=nn.Linear(N, 12), b=nn.Linear(12, 6), c=nn.Linear(6, 2)),
    "relu by function": lambda: Model(lambda m, x: functional.linear(functional.dropout(functional.relu(m.a(x)), 0.5, training=False), m.w, m.b), a=nn.Linear(N, 12), w=torch.randn(3, 12), b=torch.randn(3)),
    "bends of several functions": lambda: nn.Sequential(Model(lambda m, x: torch.cat([torch.log1p(x), x.sqrt(), x], 1)), nn.Linear(3 * N, 9), nn.ReLU(), nn.Linear(9, 3)),
    "bends and what follows": lambda: nn.Sequential(nn.Linear(N, 12), nn.ReLU(), nn.Linear(12, 8), tail()),
    "bends read twice at the end": lambda: Model(lambda m, x: (lambda h: torch.cat([torch.tanh(h), h], 1))(m.b(torch.relu(m.a(x)))), a=nn.Linear(N, 12), b=nn.Linear(12, 4)),
    # Constants beside the features.
    "covariates beside": lambda: net(lambda m, x: torch.cat([torch.log1p(x), m.c.expand(len(x), -1)], dim=1), first=first(N + 3), c=torch.randn(1, 3)),
    "covariates repeated": lambda: net(lambda m, x: torch.cat((m.c.repeat(x.shape[0], 1), x), -1), first=first(N + 3), c=torch.randn(3)),
    "zeros of its shape": lambda: net(lambda m, x: x + torch.zeros(x.shape, dtype=x.dtype) + torch.ones(x.size()[1]), first=first()),
    "zeros and ones beside": lambda: net(lambda m, x: torch.cat([x, x.new_zeros(x.size(0), 2), torch.ones(x.shape[0], 2, dtype=x.dtype, device=x.device), torch.zeros_like(x)[:, :1]], 1), first=first(N + 5)),
    "plain tensor beside": lambda: with_plain_tensor(net(lambda m, x: torch.cat([x, m.c.expand(x.shape[0], -1), m.c.repeat(len(x), 1)], 1), first=first(N + 6))),
    "batch embedding": lambda: net(lambda m, x: torch.cat([x, m.e(torch.zeros(len(x), dtype=torch.long, device=x.device) + 1)], 1), first=first(N + 4), e=nn.Embedding(3, 4)),
    "encoder with batch and library": lambda: ends(scvi, first=first(N + 4), batch=torch.tensor(2)),
    "covariates transformed": lambda: net(lambda m, x: torch.log1p(torch.cat([x, m.c.expand(len(x), -1)], 1))[:, 30:], first=first(33), c=torch.rand(1, 3)),
    "covariates in the head": lambda: ends(lambda m, x: m.tail(torch.cat([m.first(x), m.c.expand(x.shape[0], -1)], 1)), tail=tail(11), c=torch.randn(1, 3)),
    # Columns of several kinds, at other places.
    "log1p beside raw": lambda: net(lambda m, x: torch.cat([torch.log1p(x[:, :50]), x[:, 50:]], 1)),
    "log1p and raw of the same": lambda: net(lambda m, x: torch.cat([torch.log1p(x), x], 1), first=first(2 * N)),
    "three functions of a gene": lambda: net(lambda m, x: torch.cat([torch.log1p(x), x.sqrt(), x[:, :9], 2 * x], 1), first=first(3 * N + 9)),
    "slices of what is transformed": lambda: Model(lambda m, x: m.a(torch.log1p(x)[:, 10:30]) + m.b(torch.log1p(x)[:, [3, 55]]), a=first(20), b=first(2)),
    "split": lambda: Model(split, a=first(40), b=first(20), tail=tail()),
    "a layer a chunk": lambda: Model(chunks, layers=nn.ModuleList([first(20) for _ in range(3)]), tail=tail()),
    "narrowed and selected": lambda: ends(narrow, first=first(10), at=torch.randperm(40)[:10]),
    "ellipsis": lambda: net(lambda m, x: x[..., 5:25], first=first(20)),
    "mask": lambda: net(lambda m, x: x[:, m.kept], first=first(15), kept=torch.arange(N) % 4 == 0),
    "flipped and rolled": lambda: net(lambda m, x: torch.flip(x, [1]).roll(7, 1)),
    "stacked": lambda: net(lambda m, x: torch.stack([x, torch.log1p(x)], 2).flatten(1), first=first(2 * N)),
    "unsqueezed": lambda: net(lambda m, x: x.unsqueeze(1).squeeze(1)[:, None].view(-1, N)),
    "patches": lambda: Model(lambda m, x: m.out(m.patch(x.view(x.shape[0], 10, 6)).flatten(1)), patch=nn.Linear(6, 2), out=nn.Linear(20, 2)),
    "patches across": lambda: Model(lambda m, x: m.out(m.patch(x.reshape(-1, 10, 6).permute(0, 2, 1)).flatten(1)), patch=nn.Linear(10, 1), out=nn.Linear(6, 2)),
    "shared layer": lambda: ends(lambda m, x: m.tail(torch.tanh(m.first(x[:, :30])) * m.first(x[:, 30:])), first=first(30)),
    # Affine layers that are not Linear.
    "strided convolution": lambda: nn.Sequential(nn.Unflatten(1, (1, N)), nn.Conv1d(1, 2, 6, stride=6), nn.ReLU(), nn.Flatten(), nn.Linear(20, 1)),
    "circular convolution": lambda: nn.Sequential(nn.Unflatten(1, (3, 20)), nn.Conv1d(3, 2, 5, stride=4, padding=2, padding_mode="circular"), nn.Flatten()),
    "normed convolution": lambda: nn.Sequential(nn.Unflatten(1, (2, 30)), parametrizations.weight_norm(nn.Conv1d(2, 2, 5, stride=5)), nn.ReLU(), nn.Flatten()),
    "image patches": lambda: patches(),
    "average pooling": lambda: nn.Sequential(nn.Unflatten(1, (3, 20)), nn.AvgPool1d(4), nn.Flatten(), nn.Linear(15, 1)),
    "sums and means": lambda: ends(lambda m, x: m.tail(m.first(x)) * x.view(-1, 6, 10).mean((1, 2))[:, None] + torch.sum(torch.log1p(x), dim=1, keepdim=True)),
    "addmm": lambda: ends(lambda m, x: m.tail(torch.addmm(m.b, x, m.w)), b=torch.randn(8), w=torch.randn(N, 8)),
    "one score": lambda: Model(lambda m, x: torch.tanh(x @ m.w), w=torch.randn(N)),
    "pooled gene embeddings": lambda: ends(lambda m, x: m.tail((x.unsqueeze(-1) * m.e).sum(1)), e=nn.Parameter(torch.randn(N, 8))),
    # Elementwise functions.
    "parameter mask": lambda: net(lambda m, x: x * torch.sigmoid(m.k), k=nn.Parameter(torch.randn(N))),
    "integer buffer": lambda: net(lambda m, x: x * m.k / 3 - m.k, k=torch.arange(N)),
    "where of a constant": lambda: net(lambda m, x: torch.where(m.k, x, torch.log1p(x)), k=torch.arange(N) % 2 == 0),
    "where of the gene itself": lambda: net(lambda m, x: torch.where(x > 1, x, 0.25).masked_fill(x > 4, 3.0)),
    "clipped": lambda: net(lambda m, x: functional.hardtanh(x.clamp(m.low, max=None), 0.2, 4.0) + functional.relu6(x) + torch.clip(x, max=2), low=torch.rand(N)),
    "powers": lambda: net(lambda m, x: x * x + 0.1 * x**3 + x.pow(0.5)),
    "detected": lambda: ends(lambda m, x: m.tail(m.first((x > 1).to(x.dtype))) + (x > 0.5).to(x.dtype).sum(1, keepdim=True)),
    "swish by hand": lambda: net(lambda m, x: x * torch.sigmoid(x) - x),
    "arcsinh": lambda: net(lambda m, x: torch.arcsinh(x / 5)),
    "functional relu": lambda: net(lambda m, x: functional.dropout(functional.relu(x - 1), 0.4, m.training)),
    # What code does besides.
    "in place on its own": lambda: ends(own_in_place, mean=torch.randn(N), sd=torch.rand(N) + 0.5),
    "in place in the head": lambda: ends(head_in_place, second=first()),
    "in-place activation in the head": lambda: Model(lambda m, x: (lambda h: m.b(m.relu(h)) + h)(m.a(x)), a=first(), b=nn.Linear(8, 8), relu=nn.ReLU(inplace=True)),
    "shapes checked": lambda: ends(checked),
    "shapes asserted": lambda: net(lambda m, x: (torch._assert(x.shape[1] == N, "genes"), x)[1]),
    "type checked": lambda: net(lambda m, x: torch.log1p(x) if isinstance(x, torch.Tensor) and torch.is_tensor(x) else x),
    "hooks": lambda: nn.Sequential(by_hook(first(), lambda _, given: (2 * given[0],), before=True), by_hook(nn.Tanh(), lambda _, __, out: out + 1), tail()),
    "hooks of the whole": lambda: by_hook(by_hook(nn.Sequential(first(), tail()), lambda _, __, out: 2 * out), lambda _, given: (given[0] - 1,), before=True),
    "weight norm": lambda: nn.Sequential(parametrizations.weight_norm(first()), tail()),
    "spectral norm": lambda: nn.Sequential(parametrizations.spectral_norm(first()), nn.Tanh(), nn.utils.spectral_norm(nn.Linear(8, 3))),
    "masked linear": lambda: nn.Sequential(Masked(N, 8), tail()),
    "called twice as much": lambda: Twice(N, 3),
    "default argument": WithCovariates,
    "lazy": Lazy,
    "unused branch": lambda: ends(lambda m, x: (x.norm(dim=1), m.tail(m.first(x)))[1]),
    "attention in the head": lambda: ends(attended, attention=nn.MultiheadAttention(4, 2, batch_first=True)),
    "recurrent head": lambda: ends(lambda m, x: m.lstm(m.first(x).view(-1, 2, 4))[0].flatten(1), lstm=nn.LSTM(4, 3, batch_first=True)),
    "data parallel": lambda: nn.DataParallel(nn.Sequential(first(), tail())).to("cpu"),
    "buffer as a number": lambda: net(lambda m, x: x * m.k.item() + float(m.k), k=torch.tensor(2.0)),
}  # fmt: skip
