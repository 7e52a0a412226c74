"""DeepSpot (Nonchev et al. 2025) as one model, from the pixels of a spot and its neighbours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from sensx_sc.logger import logger
from sensx_sc.models.chain import Chain
from sensx_sc.models.each import Each
from sensx_sc.models.layout import Layout
from sensx_sc.models.torch_module import check_eval

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from sensx_sc.models.model import OutputKind
    from sensx_sc.models.stages import Stage

TILES = ("C", "NW", "N", "NE", "W", "E", "SW", "S", "SE")
"""Order of the tiles in a row: the spot first, then its neighbours."""

CONTEXTS = ("spot", "spot_subspot", "spot_neighbors", "spot_subspot_neighbors")
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SCALES = ("log1p", "model")
_SAME = 1e-5


class Preprocess(nn.Module):
    """What DeepSpot does to a crop before its encoder, on values from 0 to 255.

    To [0, 1], resized to ``size`` x ``size`` (bilinear, antialiased), normalised.
    """

    def __init__(
        self,
        size: int = 224,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
    ) -> None:
        super().__init__()
        self.size = size
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(mean)[:, None, None])
        self.register_buffer("std", torch.tensor(std)[:, None, None])
        self.eval()

    def forward(self, crops: Tensor) -> Tensor:
        """Crops (N, 3, h, w)."""
        scaled = crops / 255
        if tuple(crops.shape[-2:]) != (self.size, self.size):
            scaled = functional.interpolate(
                scaled, size=(self.size, self.size), mode="bilinear", antialias=True
            )
        return (scaled - self.mean) / self.std


class DeepSpot:
    """DeepSpot and its encoder as one model, from pixels to genes.

    Rows hold the nine tiles of a spot, (tile, y, x, c) with values from 0 to 255, the spot's own
    first; :func:`sensx_sc.im.sensx` takes care of that order. The spot's tile is cut into
    sub-spots as DeepSpot cuts it: squares of whole pixels, so that what is left over at the lower
    and right edge belongs to none. All crops go through the encoder; crops that a step has not
    changed are not encoded again.

    Parameters
    ----------
    model
        A ``deepspot.spot.DeepSpot`` in eval mode, or a module of its kind: ``forward`` takes
        [spot (B, 1, F), sub-spots (B, 9, F), neighbours (B, 8, F)], or those of them that
        ``context`` names, and returns (B, G).
    encoder
        Module on preprocessed crops (N, 3, size, size) that returns (N, F).
    genes
        Names of the G outputs.
    tile_px
        Pixels along a tile.
    preprocess
        Module or callable on crops (N, 3, h, w) with values from 0 to 255. None: that of DeepSpot
        for UNI (resized to 224, normalised as ImageNet). A ``torchvision`` ``Compose`` that
        begins with ``ToTensor`` is taken as it is meant for tensors.
    context
        What the model sees: ``"spot"``, ``"spot_subspot"``, ``"spot_neighbors"`` or
        ``"spot_subspot_neighbors"``. None: what ``model.hparams`` says, else all.
    scale
        ``"log1p"``: the scaler of the model, if it has one, is undone (once); ``"model"``: outputs
        as the model gives them.
    n_sub
        Sub-spots, a square number.
    cache
        Whether crops that were encoded before are looked up.
    batch_size
        Crops that the encoder gets at once.
    device
        ``"auto"`` or a device.

    Attributes
    ----------
    chain
        The stages: ``crops``, ``encoder``, ``phi``, ``rho``, ``scaler``, at each of which
        attribution can start (:meth:`sensx_sc.models.Chain.after`).

    Raises
    ------
    ValueError, TypeError
        A module in training mode, wrong names, sizes or words.

    Notes
    -----
    Checkpoints of DeepSpot are pickled modules, which may run any code when they are loaded: load
    only what you trust, with ``torch.load(..., weights_only=False)`` of your own, and save its
    ``state_dict`` instead. DeepSpot's own predictor runs in half precision, which drowns small
    steps; here everything runs in the precision that is asked for. At the edge of a slide DeepSpot
    leaves neighbours out, while tiles are filled there: leave out spots whose
    ``valid_fraction`` is below 1.

    Examples
    --------
    >>> import sensx_sc as sx
    >>> adata = sx.datasets.tissue(n_rows=4, n_columns=4)
    >>> model = sx.datasets.tissue_model(adata, epochs=1)
    >>> model.output_names[:2], model.shape
    (('NUC1', 'NUC2'), (9, 48, 48, 3))

    References
    ----------
    Nonchev et al., DeepSpot: leveraging spatial context for enhanced spatial transcriptomics
    prediction from H&E images, medRxiv 2025.
    """

    kind: OutputKind = "value"
    feature_names: tuple[str, ...] | None = None
    input_range: tuple[float, float] | None = (0.0, 255.0)

    def __init__(
        self,
        model: nn.Module,
        encoder: nn.Module,
        *,
        genes: Sequence[object],
        tile_px: int,
        preprocess: nn.Module | Callable[[Tensor], Tensor] | None = None,
        context: str | None = None,
        scale: str = "log1p",
        n_sub: int = 9,
        cache: bool = True,
        batch_size: int = 128,
        device: str | torch.device = "auto",
    ) -> None:
        for name, module in (("model", model), ("encoder", encoder)):
            if not isinstance(module, nn.Module):
                msg = f"`{name}` must be a torch.nn.Module; got {type(module).__name__}."
                raise TypeError(msg)
            check_eval(module)
        self.context = _context(model, context)
        if scale not in SCALES:
            msg = f"`scale` must be one of {SCALES}; got {scale!r}."
            raise ValueError(msg)
        across = int(np.sqrt(n_sub))
        if across**2 != n_sub or not isinstance(tile_px, int | np.integer) or tile_px < across:
            msg = (
                "`n_sub` must be a square number and `tile_px` a whole number of at least its "
                f"root; got {n_sub!r} and {tile_px!r}."
            )
            raise ValueError(msg)
        self.source = model
        self.name = type(model).__name__
        self.shape = (9, int(tile_px), int(tile_px), 3)
        self.layout = Layout(("tile", "y", "x", "c"), TILES)
        encode = nn.Sequential(_as_module(preprocess), encoder).eval()
        stages: dict[str, Stage] = {
            "crops": Crops(self.context, across),
            "encoder": Each(encode, batch_size=batch_size, cache=cache),
            **_heads(model, self.context, n_sub),
        }
        scaler = getattr(model, "scaler", None)
        if scale == "log1p" and scaler is not None:
            stages["scaler"] = _Unscaled(scaler)
        self.chain = Chain(
            stages,
            shape=self.shape,
            output_names=genes,
            layout=self.layout,
            name=self.name,
            device=device,
        )
        self.output_names = self.chain.output_names
        self.dtypes = self.chain.dtypes

    def device(self, dtype: torch.dtype) -> torch.device:
        return self.chain.device(dtype)

    def outputs(self, rows: Tensor) -> Tensor:
        return self.chain.outputs(rows)

    @property
    def n_encoded(self) -> int:
        """Crops that were encoded so far."""
        return self.chain.counts()["encoder"][1]

    @property
    def n_asked(self) -> int:
        """Crops that the model looked at so far."""
        return self.chain.counts()["encoder"][0]


def grid_lines(tile_px: int, n_sub: int = 9) -> list[int]:
    """Edges between sub-spots, and where the last ones end before the edge of the tile.

    Examples
    --------
    >>> from sensx_sc.models.deepspot import grid_lines
    >>> grid_lines(100), grid_lines(48)
    ([33, 66, 99], [16, 32])
    """
    across = int(np.sqrt(n_sub))
    square = tile_px // across
    lines = [square * k for k in range(1, across)]
    return [*lines, square * across] if square * across < tile_px else lines


class Crops:
    """Tiles (B, 9, y, x, c) as the crops that the encoder sees, channels first.

    Returns one tensor of the tiles that are needed, the spot first, and one of its sub-spots.
    """

    def __init__(self, context: str, across: int) -> None:
        self.sub, self.neighbours = "subspot" in context, "neighbors" in context
        self.across = across

    def __call__(self, tiles: Tensor) -> list[Tensor]:
        """Crop."""
        first = tiles.permute(0, 1, 4, 2, 3)
        crops = [(first if self.neighbours else first[:, :1]).contiguous()]
        if self.sub:
            size, n = first.shape[-1] // self.across, self.across
            inner = first[:, 0, :, : size * n, : size * n]
            squares = inner.unfold(2, size, size).unfold(3, size, size)  # (B, c, n, n, size, size)
            squares = squares.permute(0, 2, 3, 1, 4, 5)
            crops.append(squares.reshape(len(tiles), n * n, first.shape[2], size, size))
        return crops


def _context(model: nn.Module, context: str | None) -> str:
    if context is None:
        told = getattr(model, "hparams", {})
        get = told.get if hasattr(told, "get") else lambda key, default: getattr(told, key, default)
        context = str(get("spot_context", CONTEXTS[-1]))
    if context not in CONTEXTS:
        msg = f"`context` must be one of {CONTEXTS}; got {context!r}."
        raise ValueError(msg)
    return context


def _as_module(preprocess: Any) -> nn.Module:
    """Preprocessing of tensors with values from 0 to 255."""
    if preprocess is None:
        return Preprocess()
    if isinstance(preprocess, nn.Module):
        return preprocess
    steps = getattr(preprocess, "transforms", None)
    if steps and type(steps[0]).__name__ == "ToTensor":
        return _Function(lambda crops: _through(steps[1:], crops / 255))
    if not callable(preprocess):
        msg = f"`preprocess` must be a module or a callable on crops; got {preprocess!r}."
        raise TypeError(msg)
    return _Function(preprocess)


def _through(steps: Sequence[Callable[[Tensor], Tensor]], values: Tensor) -> Tensor:
    for step in steps:
        values = step(values)
    return values


class _Function(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function
        self.eval()

    def forward(self, values: Tensor) -> Tensor:
        return self.function(values)


class _Whole(nn.Module):
    """The model on encoded crops, by its own ``forward``."""

    def __init__(self, model: nn.Module, context: str, n_sub: int) -> None:
        super().__init__()
        self.model, self.context, self.n_sub = model, context, n_sub
        self.eval()

    def bags(self, codes: Tensor) -> list[Tensor]:
        """Spot, sub-spots and neighbours, those that there are."""
        n_sub = self.n_sub if "subspot" in self.context else 0
        n_tiles = codes.shape[1] - n_sub
        bags = [codes[:, :1]]
        if n_sub:
            bags.append(codes[:, n_tiles:])
        if "neighbors" in self.context:
            bags.append(codes[:, 1:n_tiles])
        return [bag.contiguous() for bag in bags]

    def forward(self, codes: Tensor) -> Tensor:
        bags = self.bags(codes)
        returned: Tensor = self.model(bags if len(bags) > 1 else bags[0])
        return returned


class _Phi(_Whole):
    """The first half of the model: what it makes of each bag, side by side."""

    def forward(self, codes: Tensor) -> Tensor:
        members: Any = self.model.phi_spot
        found = []
        for k, bag in enumerate(self.bags(codes)):
            each = torch.stack([member(bag) for member in members]).median(dim=0).values
            last = "neighbors" in self.context and k == len(self.bags(codes)) - 1
            found.append(each.amax(dim=1) if last else each.sum(dim=1))
        return torch.cat(found, dim=1)


class _Rho(nn.Module):
    """The second half: the mean of an ensemble."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.members: Any = model.rho
        self.eval()

    def forward(self, codes: Tensor) -> Tensor:
        return torch.stack([member(codes.clone()) for member in self.members]).mean(dim=0)


def _heads(model: nn.Module, context: str, n_sub: int) -> dict[str, Stage]:
    """The model in two stages, if they provably give what it gives, else in one."""
    whole = _Whole(model, context, n_sub)
    members = getattr(model, "phi_spot", None), getattr(model, "rho", None)
    if not all(isinstance(each, nn.ModuleList) and len(each) for each in members):
        return {"head": whole}
    phi, rho = _Phi(model, context, n_sub), _Rho(model)
    first = next(p for p in members[0].parameters() if p.ndim == 2)  # type: ignore[union-attr]
    n_crops = 1 + 8 * ("neighbors" in context) + n_sub * ("subspot" in context)
    generator = torch.Generator().manual_seed(0)
    codes = torch.randn((4, n_crops, first.shape[1]), generator=generator).to(first)
    with torch.inference_mode():
        expected, found = whole(codes), rho(phi(codes))
    if found.shape == expected.shape and torch.allclose(found, expected, rtol=_SAME, atol=_SAME):
        return {"phi": phi, "rho": rho}
    logger.info("DeepSpot: its halves do not give its outputs; it is taken as a whole.")
    return {"head": whole}


class _Unscaled:
    """Outputs in the units before the model's scaler."""

    def __init__(self, scaler: Any) -> None:
        self.scaler = scaler

    def __call__(self, outputs: Tensor) -> Tensor:
        """Undo the scaling."""
        back = self.scaler.inverse_transform(outputs.cpu().double().numpy())
        return torch.as_tensor(np.asarray(back), dtype=outputs.dtype, device=outputs.device)
