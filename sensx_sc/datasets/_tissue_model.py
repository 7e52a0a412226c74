"""A small model of the structure of DeepSpot, trained on a section."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import torch
    from anndata import AnnData
    from torch import Tensor, nn

    from sensx_sc.models.deepspot import DeepSpot

_SIZE = 25  # pixels of a crop that the encoder sees
_CODES = 64


def tissue_model(
    adata: AnnData,
    *,
    context: str = "spot_subspot_neighbors",
    shuffle: bool = False,
    epochs: int = 30,
    seed: int = 0,
    cache: bool = True,
) -> DeepSpot:
    """Train a small model of the structure of DeepSpot on a section.

    A convolutional encoder of three layers learns to tell dark blue, pink and light in crops
    (nuclei, eosin and lumina of :func:`tissue`) and is frozen. On its codes of a spot, of its nine
    sub-spots and of its eight neighbours an ensemble of phi (median) and one of rho (mean) are
    trained to predict the scaled expression, as those of DeepSpot are. Everything is a tenth of
    the real sizes, so this takes seconds.

    Parameters
    ----------
    adata
        A section: ``.X`` is what is learned, of all genes, at the spots of ``.obsm["spatial"]`` on
        the image in ``.uns["spatial"]``; :func:`tissue` is one, :func:`mouse_brain` with some of
        its genes another.
    context
        What the model sees: ``"spot"``, ``"spot_subspot"``, ``"spot_neighbors"`` or
        ``"spot_subspot_neighbors"``.
    shuffle
        Train on the expression of other spots: a control in which nothing can be found.
    epochs
        Of the encoder; the ensembles get ten times as many.
    seed
        Of the weights and of the order of the spots.
    cache
        Passed on to :class:`sensx_sc.models.DeepSpot`.

    Returns
    -------
    :class:`sensx_sc.models.DeepSpot`; ``model.source`` is the trained module.

    Raises
    ------
    KeyError, ValueError
        No such context, or no image or spots.

    Examples
    --------
    >>> import sensx_sc as sx
    >>> adata = sx.datasets.tissue(n_rows=4, n_columns=4)
    >>> sx.datasets.tissue_model(adata, epochs=1).context
    'spot_subspot_neighbors'
    """
    import numpy as np
    import torch

    from sensx_sc.core.arrays import dense
    from sensx_sc.im import from_adata, spot_tiles
    from sensx_sc.models.deepspot import CONTEXTS, TILES, DeepSpot, Preprocess

    if context not in CONTEXTS:
        msg = f"`context` must be one of {CONTEXTS}; got {context!r}."
        raise ValueError(msg)
    tiles = spot_tiles(from_adata(adata), adata).sel(tile=list(TILES))
    pixels = torch.as_tensor(tiles.transpose("obs", "tile", "y", "x", "c").values).float()
    expression = dense(adata.X)
    if shuffle:
        expression = expression[np.random.default_rng(seed).permutation(len(expression))]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        prepare = Preprocess(_SIZE, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
        encoder = _train_encoder(pixels, prepare, epochs)
        module = _make_module(context, expression)
        _train_module(module, _codes(pixels, context, prepare, encoder), expression, 10 * epochs)
    return DeepSpot(
        module,
        encoder,
        genes=list(adata.var_names),
        tile_px=pixels.shape[2],
        preprocess=prepare,
        context=context,
        cache=cache,
        device="cpu",
    )


def _encoder() -> nn.Module:
    from torch import nn

    def layer(before: int, after: int, width: int) -> list[nn.Module]:
        how: dict[str, Any] = {"stride": 2, "padding": width // 2, "padding_mode": "replicate"}
        return [nn.Conv2d(before, after, width, **how), nn.ReLU()]

    layers = [*layer(3, 16, 7), *layer(16, 32, 3), *layer(32, _CODES, 3)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def _train_encoder(pixels: Tensor, prepare: nn.Module, epochs: int) -> nn.Module:
    """Teach the encoder what crops of both sizes show."""
    import torch
    from torch import nn

    from sensx_sc.models.deepspot import Crops

    tiles, parts = Crops("spot_subspot", 3)(pixels[:, :1])
    crops = [tiles.flatten(0, 1), parts.flatten(0, 1)]
    dark, light = _thresholds(crops[0])
    truth = torch.cat([_shown(part, dark, light) for part in crops])
    truth = (truth - truth.mean(dim=0)) / truth.std(dim=0).clamp_min(1e-6)
    with torch.no_grad():
        inputs = torch.cat([prepare(part) for part in crops])
    encoder = _encoder()
    whole = nn.Sequential(encoder, nn.Linear(_CODES, truth.shape[1]))
    _fit(whole, inputs, truth, epochs, rate=2e-3)
    return encoder.eval().requires_grad_(requires_grad=False)


def _density(crops: Tensor) -> tuple[Tensor, Tensor]:
    """Optical density in red and in green."""
    import torch

    density = -torch.log((crops + 1) / 256)
    return density[..., 0, :, :], density[..., 1, :, :]


def _thresholds(crops: Tensor) -> tuple[float, float]:
    """Density in red above which pixels are nuclei, and in green below which they are light.

    Scanners and stains differ, so both are relative to what the section shows.
    """
    import numpy as np

    red, green = (part.numpy().ravel() for part in _density(crops))
    usual, dark = np.quantile(red, [0.5, 0.97])
    light, middle = np.quantile(green, [0.01, 0.5])
    return float(usual + dark) / 2, float(light + (middle - light) / 4)


def _shown(crops: Tensor, dark: float, light: float) -> Tensor:
    """Share of dark blue, strength of pink and share of light in crops, (N, 3)."""
    import torch

    red, green = _density(crops)
    nuclei, lumen = (red > dark).float(), (green < light).float()
    pink = green * (1 - nuclei)
    return torch.stack([part.mean(dim=(1, 2)) for part in (nuclei, pink, lumen)], dim=1)


def _codes(pixels: Tensor, context: str, prepare: nn.Module, encoder: nn.Module) -> Any:
    """What the module is trained on: encoded crops, a bag each."""
    import torch

    from sensx_sc.models.deepspot import Crops

    banks = []
    with torch.no_grad():
        for bank in Crops(context, 3)(pixels):
            flat = bank.flatten(0, 1)
            made = [encoder(prepare(flat[i : i + 256])) for i in range(0, len(flat), 256)]
            banks.append(torch.cat(made).reshape(*bank.shape[:2], -1))
    bags = [banks[0][:, :1], *banks[1:]]
    if "neighbors" in context:
        bags.append(banks[0][:, 1:])
    return [bag.contiguous() for bag in bags]


def _make_module(context: str, expression: np.ndarray) -> nn.Module:
    return _standin()(context, expression.shape[1], expression.mean(axis=0), expression.std(axis=0))


def _standin() -> Any:
    """The class of the module; made here, so that torch is only loaded when it is needed."""
    import torch
    from torch import nn

    class DeepSpotStandIn(nn.Module):
        """phi of each bag (median of an ensemble), side by side, to rho (mean of an ensemble)."""

        def __init__(self, context: str, n_genes: int, mean: np.ndarray, std: np.ndarray) -> None:
            super().__init__()
            self.hparams: dict[str, Any] = {"spot_context": context, "input_size": _CODES}
            n_bags = 1 + ("subspot" in context) + ("neighbors" in context)
            self.phi_spot = nn.ModuleList(
                nn.Sequential(nn.Linear(_CODES, _CODES), nn.Dropout(0.1), nn.ReLU())
                for _ in range(3)
            )
            self.rho = nn.ModuleList(
                nn.Sequential(nn.Dropout(0.1), nn.ReLU(), nn.Linear(_CODES * n_bags, n_genes))
                for _ in range(3)
            )
            self.scaler = Scaler(mean, std)

        def forward(self, bags: Any) -> torch.Tensor:
            bags = [bags] if isinstance(bags, torch.Tensor) else list(bags)
            context = self.hparams["spot_context"]
            found = []
            for k, bag in enumerate(bags):
                each = torch.stack([phi(bag) for phi in self.phi_spot], dim=1)
                middle = torch.median(each, dim=1).values
                last = "neighbors" in context and k == len(bags) - 1
                found.append(middle.max(dim=1).values if last else middle.sum(dim=1))
            both = torch.cat(found, dim=1)
            return torch.stack([rho(both) for rho in self.rho], dim=1).mean(dim=1)

    return DeepSpotStandIn


class Scaler:
    """Mean and spread of each gene, undone as scikit-learn's StandardScaler does it."""

    def __init__(self, mean: np.ndarray, std: np.ndarray) -> None:
        self.mean_, self.scale_ = mean, std + (std == 0)

    def transform(self, values: np.ndarray) -> np.ndarray:
        return (values - self.mean_) / self.scale_

    def inverse_transform(self, values: np.ndarray) -> np.ndarray:
        return values * self.scale_ + self.mean_


def _train_module(module: Any, bags: Any, expression: np.ndarray, epochs: int) -> None:
    import torch

    wanted = torch.as_tensor(module.scaler.transform(expression)).float()
    _fit(module, bags if len(bags) > 1 else bags[0], wanted, epochs, rate=2e-3)


def _fit(module: nn.Module, inputs: Any, wanted: Tensor, epochs: int, *, rate: float) -> None:
    """Least squares by AdamW, in batches of 64."""
    import torch

    optimiser = torch.optim.AdamW(module.parameters(), lr=rate, weight_decay=1e-3)
    module.train()
    for _ in range(epochs):
        for some in torch.randperm(len(wanted)).split(64):
            given = [part[some] for part in inputs] if isinstance(inputs, list) else inputs[some]
            loss = ((module(given) - wanted[some]) ** 2).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    module.eval()
