"""DeepSpot: the numbers of its own pipeline, crops cut as it cuts them, two encodings a step."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import sensx_sc as sx
from sensx_sc.models import DeepSpot
from sensx_sc.models.deepspot import TILES, Crops, Preprocess, grid_lines


@pytest.fixture(scope="module")
def section() -> Any:
    return sx.datasets.tissue(n_rows=5, n_columns=5, tile_px=24)


@pytest.fixture(scope="module")
def model(section: Any) -> DeepSpot:
    return sx.datasets.tissue_model(section, epochs=3)


@pytest.fixture(scope="module")
def rows(section: Any) -> np.ndarray:
    tiles = sx.im.spot_tiles(sx.im.from_adata(section), section).sel(tile=list(TILES))
    return tiles.transpose("obs", "tile", "y", "x", "c").values.reshape(25, -1).astype(float)


def mini_tiles(image: np.ndarray, n_tiles: int) -> list[np.ndarray]:
    """Sub-spots of an image (y, x, c), from the description of DeepSpot."""
    n = int(np.sqrt(n_tiles))
    size = image.shape[0] // n
    return [
        image[i * size : (i + 1) * size, j * size : (j + 1) * size]
        for i in range(n)
        for j in range(n)
    ]


def its_own_way(model: DeepSpot, spot: np.ndarray) -> np.ndarray:
    """Expression of one spot (9, y, x, 3), crop by crop in full precision."""
    module: Any = model.source
    encoder = model.chain.stages["encoder"].functions[0]
    prepare, net = encoder[0], encoder[1]

    def encoded(crops: list[np.ndarray]) -> torch.Tensor:
        codes = []
        for crop in crops:
            tensor = torch.as_tensor(crop.transpose(2, 0, 1).copy()).float() / 255  # ToTensor
            tensor = functional.interpolate(
                tensor[None], size=(prepare.size, prepare.size), mode="bilinear", antialias=True
            )
            codes.append(net((tensor - prepare.mean) / prepare.std)[0])
        return torch.stack(codes)[None]

    with torch.no_grad():
        bags = [encoded([spot[0]]), encoded(mini_tiles(spot[0], 9)), encoded(list(spot[1:]))]
        out = module(bags).numpy()
    return module.scaler.inverse_transform(out)[0]


def test_the_numbers_are_those_of_its_own_pipeline(model: DeepSpot, rows: np.ndarray) -> None:
    got = model.outputs(torch.as_tensor(rows).float()).numpy()
    expected = [its_own_way(model, row.reshape(9, 24, 24, 3)) for row in rows]
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)
    assert list(model.chain.stages) == ["crops", "encoder", "phi", "rho", "scaler"]
    assert model.output_names == ("NUC1", "NUC2", "EOS1", "EOS2", "LUM1", "LUM2", "NEI1", "NULL1")


@pytest.mark.parametrize("size", [24, 48, 50, 100])
def test_crops_are_cut_as_deepspot_cuts_them(size: int) -> None:
    tiles = torch.arange(2 * 9 * size * size * 3, dtype=torch.float64).reshape(2, 9, size, size, 3)
    first, parts = Crops("spot_subspot_neighbors", 3)(tiles)
    for b in range(2):
        for k, part in enumerate(mini_tiles(tiles[b, 0].numpy(), 9)):
            np.testing.assert_array_equal(parts[b, k].numpy(), part.transpose(2, 0, 1))
        np.testing.assert_array_equal(first[b].numpy(), tiles[b].numpy().transpose(0, 3, 1, 2))
    assert len(Crops("spot", 3)(tiles)) == 1
    assert Crops("spot", 3)(tiles)[0].shape[1] == 1
    assert Crops("spot_neighbors", 3)(tiles)[0].shape[1] == 9


def test_lines_between_sub_spots() -> None:
    assert grid_lines(100) == [33, 66, 99]  # row and column 99 belong to none
    assert grid_lines(50) == [16, 32, 48]
    assert grid_lines(48) == [16, 32]


def walk_of_the_centre(rows: np.ndarray, size: int, n_steps: int) -> torch.Tensor:
    """Rows along a walk over pixels of the centre tile."""
    made = torch.as_tensor(rows[:1]).repeat(n_steps + 1, 1)
    pixels = np.random.default_rng(0).permutation(size * size)[:n_steps]
    for k, pixel in enumerate(pixels, start=1):
        made[k] = made[k - 1]
        made[k, 3 * pixel : 3 * pixel + 3] += torch.tensor([5.0, -3.0, 2.0])
    return made


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_two_encodings_a_step_and_the_same_numbers(
    section: Any, rows: np.ndarray, dtype: torch.dtype
) -> None:
    cached = sx.datasets.tissue_model(section, epochs=1)
    plain = sx.datasets.tissue_model(section, epochs=1, cache=False)
    walk = walk_of_the_centre(rows, 24, 150).to(dtype)
    a, b = cached.outputs(walk), plain.outputs(walk)
    torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6)
    assert plain.n_encoded == 151 * 18
    assert cached.n_encoded == 18 + 2 * 150
    assert plain.n_encoded / cached.n_encoded > 5


def test_a_pixel_of_the_lost_edge_takes_one_encoding() -> None:
    section = sx.datasets.tissue(n_rows=3, n_columns=3, tile_px=25)
    model = sx.datasets.tissue_model(section, epochs=1)
    tiles = sx.im.spot_tiles(sx.im.from_adata(section), section).sel(tile=list(TILES))
    row = tiles.transpose("obs", "tile", "y", "x", "c").values[:1].reshape(1, -1).astype(float)
    both = torch.as_tensor(np.repeat(row, 2, axis=0)).float()
    both[1, 3 * 24] += 9  # first row, last column
    model.outputs(both)
    assert model.n_encoded == 18 + 1


def test_a_walk_over_pixels_saves_five_times(section: Any) -> None:
    model = sx.datasets.tissue_model(section, epochs=1)
    tiles = sx.im.spot_tiles(sx.im.from_adata(section), section, obs_names=["spot_2_2"])
    arguments: dict[str, Any] = {
        "features": "pixel", "perturb": "C", "target": "NUC1", "tau": 1e-6, "n_walks": 8,
        "n_samples": 10, "deltas": [0.5], "on_error": "raise", "precision": "float64",
    }  # fmt: skip
    found = sx.im.sensx(tiles, model, **arguments)
    assert model.n_asked / model.n_encoded >= 5
    plain = sx.datasets.tissue_model(section, epochs=1, cache=False)
    again = sx.im.sensx(tiles, plain, **arguments)
    np.testing.assert_allclose(found["value"], again["value"], rtol=1e-6, atol=1e-12)
    assert found["value"].sizes == {"obs": 1, "tile": 1, "y": 24, "x": 24}


def test_attribution_at_the_interfaces(model: DeepSpot, rows: np.ndarray) -> None:
    codes = model.chain.at("encoder", rows[:3])
    assert codes.shape == (3, 18 * 64)
    concatenated = model.chain.at("phi", rows[:3])
    assert concatenated.shape == (3, 3 * 64)
    expected = model.outputs(torch.as_tensor(rows[:3]).float())
    for name, at in (("encoder", codes), ("phi", concatenated)):
        got = model.chain.after(name).outputs(torch.as_tensor(at))
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("context", ["spot", "spot_subspot", "spot_neighbors"])
def test_contexts(section: Any, rows: np.ndarray, context: str) -> None:
    model = sx.datasets.tissue_model(section, context=context, epochs=1)
    walk = walk_of_the_centre(rows, 24, 5).float()
    model.outputs(walk)
    n_crops = {"spot": 1, "spot_subspot": 10, "spot_neighbors": 9}[context]
    assert model.n_asked == 6 * n_crops
    assert model.n_encoded == n_crops + 5 * (1 + ("subspot" in context))


def test_scaled_outputs(section: Any, model: DeepSpot, rows: np.ndarray) -> None:
    encoder = model.chain.stages["encoder"].functions[0]
    raw = DeepSpot(
        model.source, encoder[1], preprocess=encoder[0], genes=list(section.var_names), tile_px=24,
        scale="model", device="cpu",
    )  # fmt: skip
    assert list(raw.chain.stages) == ["crops", "encoder", "phi", "rho"]
    given_rows = torch.as_tensor(rows[:2]).float()
    scaler: Any = model.source.scaler
    expected = scaler.inverse_transform(raw.outputs(given_rows).numpy())
    np.testing.assert_allclose(model.outputs(given_rows).numpy(), expected, rtol=1e-5, atol=1e-5)


def test_a_model_without_halves_is_taken_as_a_whole(model: DeepSpot, rows: np.ndarray) -> None:
    class Other(nn.Module):
        def __init__(self, module: nn.Module) -> None:
            super().__init__()
            self.module = module

        def forward(self, bags: Any) -> torch.Tensor:
            return self.module(bags)

    encoder = model.chain.stages["encoder"].functions[0]
    whole = DeepSpot(
        Other(model.source).eval(), encoder[1], preprocess=encoder[0], genes=model.output_names,
        tile_px=24, scale="model",
    )  # fmt: skip
    assert list(whole.chain.stages) == ["crops", "encoder", "head"]
    scaler: Any = model.source.scaler
    got = scaler.inverse_transform(whole.outputs(torch.as_tensor(rows[:2]).float()).numpy())
    expected = model.outputs(torch.as_tensor(rows[:2]).float()).numpy()
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)


def test_preprocessing_of_torchvision_is_taken_as_meant_for_tensors() -> None:
    class ToTensor:
        def __call__(self, picture: Any) -> Any:
            raise AssertionError

    def halve(z: torch.Tensor) -> torch.Tensor:
        return z / 2

    from sensx_sc.models.deepspot import _as_module

    made = _as_module(SimpleNamespace(transforms=[ToTensor(), halve]))
    torch.testing.assert_close(made(torch.full((1, 3, 2, 2), 255.0)), torch.full((1, 3, 2, 2), 0.5))


def test_default_preprocessing() -> None:
    crops = torch.rand(2, 3, 33, 33) * 255
    made = Preprocess()(crops)
    assert made.shape == (2, 3, 224, 224)
    flat = Preprocess()(torch.full((1, 3, 33, 33), 255.0))
    expected = (1 - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])
    np.testing.assert_allclose(flat[0, :, 5, 5].numpy(), expected, rtol=1e-5)


MODULE, ENCODER = nn.Linear(2, 1).eval(), nn.Flatten().eval()
GENES: dict[str, Any] = {"genes": ["a"], "tile_px": 9}
WRONG: dict[str, tuple[Any, type[Exception], str]] = {
    "model": (lambda: DeepSpot(3, ENCODER, **GENES), TypeError, "`model` must be a torch.nn.Module; got int"),
    "encoder": (lambda: DeepSpot(MODULE, len, **GENES), TypeError, "`encoder` must be a torch.nn.Module"),
    "training": (lambda: DeepSpot(nn.Dropout(), ENCODER, **GENES), ValueError, r"model.eval\(\)"),
    "context": (lambda: DeepSpot(MODULE, ENCODER, context="all", **GENES), ValueError, "`context` must be one of"),
    "scale": (lambda: DeepSpot(MODULE, ENCODER, scale="counts", **GENES), ValueError, "`scale` must be one of"),
    "sub-spots": (lambda: DeepSpot(MODULE, ENCODER, n_sub=8, **GENES), ValueError, "`n_sub` must be a square number"),
    "tile": (lambda: DeepSpot(MODULE, ENCODER, genes=["a"], tile_px=2), ValueError, "`tile_px` a whole number"),
    "preprocess": (lambda: DeepSpot(MODULE, ENCODER, preprocess=3, **GENES), TypeError, "`preprocess` must be a module or a callable"),
}  # fmt: skip


@pytest.mark.parametrize(("call", "error", "words"), WRONG.values(), ids=WRONG.keys())
def test_wrong_input(call: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        call()
