"""``sx.im.sensx``: features of every kind against ``sx.core.explain`` on rows, and truth recovered."""

from __future__ import annotations

import json
import logging
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from torch import nn

import sensx_sc as sx
from sensx_sc.models.layout import Layout

if TYPE_CHECKING:
    from pathlib import Path

RNG = np.random.default_rng(0)
SLIDE = sx.im.from_array(RNG.integers(0, 255, (40, 50, 3), dtype=np.uint8))
SPOTS = pd.DataFrame({"x": [12.0, 30.0, 22.0], "y": [15.0, 20.0, 9.0]}, index=["a", "b", "c"])
TILES = sx.im.spot_tiles(SLIDE, SPOTS, tile_px=4).compute()
CENTRE = TILES.sel(tile="C")
WEIGHTS = RNG.normal(size=(9, 3, 4, 4)) / 255
SMALL: dict[str, Any] = {"n_walks": 20, "n_samples": 40, "deltas": [0.3, 1.0], "tau": 1e-6}
STATISTICS = ("value", "rank", "mean", "std", "change", "shapley", "se", "n")


def of_tiles(tiles: np.ndarray) -> np.ndarray:
    z = (tiles * WEIGHTS).sum(axis=(2, 3, 4))
    return np.tanh(z).sum(axis=1) + z[:, 4] * z[:, 0]


def of_images(images: np.ndarray) -> np.ndarray:
    return np.tanh((images * WEIGHTS[4]).sum(axis=(1, 2, 3)))


def on_rows(z: np.ndarray) -> np.ndarray:
    return of_tiles(z.reshape(-1, 9, 3, 4, 4))


def directly(groups: Any, **more: Any) -> Any:
    rows = TILES.values.reshape(3, -1)
    return sx.core.explain(
        rows, on_rows, lower=0, upper=255, groups=groups, keys=["a", "b", "c"], **SMALL, **more
    )


T, C, H, W = np.indices((9, 3, 4, 4))
KINDS: dict[str, tuple[Any, tuple[int, ...]]] = {
    "value": (None, (9, 3, 4, 4)),
    "pixel": ((T * 16 + H * 4 + W).ravel(), (9, 4, 4)),
    "patch:2": ((T * 4 + H // 2 * 2 + W // 2).ravel(), (9, 2, 2)),
    "patch:3": ((T * 4 + H // 3 * 2 + W // 3).ravel(), (9, 2, 2)),
    "tile": (T.ravel(), (9,)),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("ignore:groups have 1 to 9 features")
def test_features_are_groups_of_the_rows(kind: str) -> None:
    groups, shape = KINDS[kind]
    with np.errstate(all="ignore"):
        found = sx.im.sensx(TILES, of_tiles, features=kind, statistics=STATISTICS, **SMALL)
        expected = directly(groups)
    for name in STATISTICS:
        got = found[name].values
        assert got.shape == (3, *shape)
        np.testing.assert_allclose(
            got.reshape(3, -1), getattr(expected, name), rtol=1e-6, atol=1e-9
        )
    np.testing.assert_array_equal(found["delta_star"], expected.delta_star)
    assert found["status"].values.tolist() == list(expected.status)
    np.testing.assert_allclose(found["qoi"], of_tiles(TILES.values))
    assert found["obs"].values.tolist() == ["a", "b", "c"]
    assert found["tile"].values.tolist() == TILES["tile"].values.tolist()
    assert found["envelope"].shape == (3, 2, 2)
    json.dumps(found.attrs["params"])


def test_coordinates_of_patches_are_their_centres() -> None:
    found = sx.im.sensx(CENTRE, of_images, features="patch:3", **SMALL)
    np.testing.assert_allclose(found["y"], [1.5, 3.5])  # the last patch has one pixel
    assert found["value"].dims == ("obs", "y", "x")
    pixels = sx.im.to_pixels(found)
    assert pixels.shape == (3, 4, 4)
    np.testing.assert_allclose(pixels["x"], [0.5, 1.5, 2.5, 3.5])
    np.testing.assert_array_equal(pixels.values[:, 0, :3].std(axis=1), 0)


def test_only_some_tiles_are_perturbed() -> None:
    found = sx.im.sensx(TILES, of_tiles, features="pixel", perturb="C", **SMALL)
    assert found["value"].sizes == {"obs": 3, "tile": 1, "y": 4, "x": 4}
    assert found["tile"].values.tolist() == ["C"]
    label = np.where(T == 4, H * 4 + W, -1).ravel()
    np.testing.assert_allclose(
        found["value"].values.reshape(3, -1), directly(label).value, rtol=1e-6
    )
    np.testing.assert_array_equal(found["y0"].values, TILES["y0"].sel(tile=["C"]).values)
    two = sx.im.sensx(TILES, of_tiles, features="value", perturb=["S", "NW"], **SMALL)
    assert two["tile"].values.tolist() == ["NW", "S"]
    mask = np.isin(T, [0, 7]).ravel()
    expected = directly(None, mask=mask).value[:, mask]
    np.testing.assert_allclose(two["value"].values.reshape(3, -1), expected, rtol=1e-6)


def test_labels_and_what_lies_between_them() -> None:
    labels = np.zeros((4, 4), dtype=int)
    labels[0, :2], labels[2:, 2:], labels[3, 0] = 7, 3, 12
    found = sx.im.sensx(TILES, of_tiles, features=labels, perturb="C", **SMALL)
    assert found["value"].dims == ("obs", "label")
    assert found["label"].values.tolist() == [3, 7, 12]
    index = np.searchsorted([3, 7, 12], labels)
    label = np.where((T == 4) & (labels > 0), index, -1).ravel()
    np.testing.assert_allclose(found["value"], directly(label).value, rtol=1e-6)
    pixels = sx.im.to_pixels(found)
    assert pixels.dims == ("obs", "tile", "y", "x")
    np.testing.assert_array_equal(np.isnan(pixels.values[0, 0]), labels == 0)
    assert (pixels.values[:, 0, 0, 0] == found["value"].sel(label=7).values).all()
    assert (pixels.values[:, 0, 3, 3] == found["value"].sel(label=3).values).all()
    back = sx.im.stitch(pixels)
    assert int(back["count"].sum()) == 3 * 7
    # Of all tiles at once: labels of the tiles differ.
    every = np.arange(9)[:, None, None] * 2 + 1 + (np.arange(4)[:, None] > 1) + np.zeros((9, 4, 4))
    found = sx.im.sensx(TILES, of_tiles, features=every.astype(int), **SMALL)
    np.testing.assert_allclose(found["value"], directly((T * 2 + (H > 1)).ravel()).value, rtol=1e-6)


@pytest.mark.filterwarnings("ignore:groups have")
def test_coarse_features_first() -> None:
    found = sx.im.sensx(TILES, of_tiles, features="pixel", coarse="patch:2", coarse_top=3, **SMALL)
    coarse = sx.im.sensx(TILES, of_tiles, features="patch:2", **SMALL)
    np.testing.assert_array_equal(found["value_coarse"].values, coarse["value"].values)
    assert found["value_coarse"].dims == ("obs", "tile", "y_coarse", "x_coarse")
    top = sx.im.to_pixels(found, "rank_coarse") <= 3
    np.testing.assert_array_equal(np.isfinite(found["value"].values), top.values)
    expected = directly(KINDS["patch:2"][0], within=KINDS["pixel"][0], within_top=3)
    np.testing.assert_allclose(
        found["value"].values.reshape(3, -1), expected.value[:, 36:], rtol=1e-6
    )
    assert sx.im.stitch(sx.im.to_pixels(found, "value_coarse")).shape == (40, 50)


def test_coarse_labels() -> None:
    labels = 1 + (np.arange(4)[:, None] > 1) + np.zeros((4, 4), dtype=int)
    found = sx.im.sensx(CENTRE, of_images, features="pixel", coarse=labels, **SMALL)
    assert found["value_coarse"].dims == ("obs", "label_coarse")
    pixels = sx.im.to_pixels(found, "rank_coarse")
    np.testing.assert_array_equal(np.isfinite(found["value"]), pixels == 1)


def test_an_image_alone() -> None:
    image = SLIDE[:, 3:10, 5:11]
    found = sx.im.sensx(image, lambda z: z[:, 1, 2, 3] / 255, **SMALL)
    assert found["value"].dims == ("y", "x")
    np.testing.assert_array_equal(found["y"], image["y"])
    assert int(found["rank"][2, 3]) == 1
    assert float(found["change"].sum()) == float(found["change"][2, 3])
    assert isinstance(str(found["status"].item()), str)
    named = sx.im.sensx(image.assign_attrs(library_id="s1"), lambda z: z[:, 1, 2, 3] / 255, **SMALL)
    assert not np.allclose(named["change"], found["change"], rtol=1e-9)  # keyed by its name


# ---- planted truth


@pytest.mark.parametrize("estimator", ["walks", "gradient"])
def test_the_top_pixels_are_those_that_the_model_reads(estimator: Any) -> None:
    """Precision of the top 1 % of pixels, for a net that reads a known region of 1 %."""

    class Region(nn.Module):
        task = "regression"

        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Tanh(), nn.Flatten(), nn.Linear(100, 1))

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.net(images[:, :, 20:25, 30:35] / 128 - 1)

    torch.manual_seed(0)
    image = sx.im.from_array(RNG.integers(0, 255, (50, 50, 3), dtype=np.uint8))
    found = sx.im.sensx(
        image, Region().eval(), estimator=estimator, n_walks=20, n_samples=40, deltas=[0.3],
        tau=1e-6, precision="float64",
    )  # fmt: skip
    truth = np.zeros((50, 50), dtype=bool)
    truth[20:25, 30:35] = True
    top = found["rank"].values <= 25
    assert (truth & top).sum() / top.sum() >= 0.9
    if estimator == "gradient":
        assert bool(found["audit_passed"])


# ---- models


class Classifier(nn.Module):
    """As those of transformers: a configuration with names, an object with logits."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(48, 3)
        self.config = SimpleNamespace(id2label={0: "tumour", 1: "stroma", 2: "fat"})

    def forward(self, pixel_values: torch.Tensor) -> Any:
        assert pixel_values.shape[1:] == (3, 4, 4)
        return SimpleNamespace(logits=self.head(pixel_values.flatten(1) / 255))


def test_classifiers_of_torchvision_timm_and_transformers() -> None:
    torch.manual_seed(1)
    model = Classifier().eval()
    found = sx.im.sensx(CENTRE, model, precision="float64", **SMALL)
    p = model(torch.as_tensor(CENTRE.values).float()).logits.softmax(1).detach().numpy()
    names = np.array(["tumour", "stroma", "fat"])
    assert found["target"].values.tolist() == names[p.argmax(1)].tolist()
    np.testing.assert_allclose(found["qoi"], p.max(1), rtol=1e-5)
    one = sx.im.sensx(CENTRE, model, target="fat", precision="float64", **SMALL)
    np.testing.assert_allclose(one["qoi"], p[:, 2], rtol=1e-5)
    each = sx.im.sensx(CENTRE, model, target=["fat", "fat", "stroma"], precision="float64", **SMALL)
    assert each["target"].values.tolist() == ["fat", "fat", "stroma"]
    np.testing.assert_allclose(each["value"][0], one["value"][0], rtol=1e-6)
    plain = nn.Sequential(nn.Flatten(), nn.Linear(48, 2)).eval()  # as those of torchvision
    found = sx.im.sensx(CENTRE, plain, **SMALL)
    assert set(found["target"].values.tolist()) <= {"0", "1"}
    assert found.attrs["params"]["model"] == "Sequential"


def test_estimators_take_rows() -> None:
    from sklearn.linear_model import LinearRegression

    rows = CENTRE.values.reshape(3, -1) / 1.0
    model = LinearRegression().fit(rows, [0.0, 1.0, 2.0])
    found = sx.im.sensx(CENTRE, model, features="value", **SMALL)
    np.testing.assert_allclose(
        found["value"].values.reshape(3, -1), np.abs(model.coef_)[None].repeat(3, 0), rtol=1e-6
    )
    assert found.attrs["params"]["evaluator"] == "stem"


def test_models_with_a_layout_of_their_own() -> None:
    """Rows (tile, y, x, c) with the centre first, as DeepSpot takes them."""
    order = ("C", "NW", "N", "NE", "W", "E", "SW", "S", "SE")

    class Own:
        layout = Layout(("tile", "y", "x", "c"), order)
        name, kind, dtypes = "own", "value", (torch.float64,)
        feature_names = output_names = input_range = source = None

        def device(self, dtype: torch.dtype) -> torch.device:
            return torch.device("cpu")

        def outputs(self, rows: torch.Tensor) -> torch.Tensor:
            tiles = rows.numpy().reshape(-1, 9, 4, 4, 3).transpose(0, 1, 4, 2, 3)
            place = [order.index(name) for name in TILES["tile"].values]
            return torch.as_tensor(of_tiles(tiles[:, place]))[:, None]

    for kind in ("tile", "patch:2"):
        found = sx.im.sensx(TILES, Own(), features=kind, **SMALL | {"n_walks": 800})
        plain = sx.im.sensx(TILES, of_tiles, features=kind, **SMALL | {"n_walks": 800})
        assert set(found["tile"].values) == set(order)
        found = found.sel(tile=TILES["tile"].values).transpose(*plain.dims)
        np.testing.assert_allclose(found["qoi"], plain["qoi"])
        # Other random numbers: alike to some standard errors.
        scale = plain["change"].max()
        assert float(np.abs(found["change"] - plain["change"]).max() / scale) < 0.05
    with pytest.raises(ValueError, match="takes the tiles C, NW.*`image` has none"):
        sx.im.sensx(CENTRE, Own(), **SMALL)


def test_a_quantity_of_interest_and_bounds_by_channel() -> None:
    found = sx.im.sensx(
        CENTRE, lambda z: z.mean(axis=(2, 3)) / 255, qoi=lambda out: out[:, 0] - out[:, 1],
        lower=[0, 0, 100], upper=[255, 255, 100], features="value", out_of_domain="clip", **SMALL,
    )  # fmt: skip
    assert np.isnan(found["value"].sel(c="b")).all()
    np.testing.assert_allclose(found["mean"].sel(c="g"), -1 / 16 / 255, rtol=1e-4)


# ---- lazily, in parts, resumed


def same(a: xr.Dataset, b: xr.Dataset) -> None:
    for name in a.data_vars:
        np.testing.assert_array_equal(a[name].values, b[name].values, err_msg=name)


def test_lazy_tiles_are_read_some_at_a_time() -> None:
    reads: list[int] = []

    def count(block: np.ndarray) -> np.ndarray:
        reads.append(len(block))
        return block

    lazy = TILES.copy(data=da.from_array(TILES.values, chunks=(1, 9, 3, 4, 4)).map_blocks(count))
    plain = sx.im.sensx(TILES, of_tiles, features="tile", **SMALL)
    reads.clear()
    found = sx.im.sensx(lazy, of_tiles, features="tile", chunk_size=1, **SMALL)
    same(found, plain)
    assert max(reads) == 1
    split = TILES.chunk({"obs": 2, "tile": 4, "y": 3})
    same(sx.im.sensx(split, of_tiles, features="tile", **SMALL), plain)


def test_batches_and_chunks_change_nothing() -> None:
    plain = sx.im.sensx(TILES, of_tiles, features="patch:2", **SMALL)
    for more in ({"batch_size": 3}, {"chunk_size": 1}, {"chunk_size": 2, "batch_size": 7}):
        found = sx.im.sensx(TILES, of_tiles, features="patch:2", **SMALL, **more)
        np.testing.assert_allclose(found["value"], plain["value"], rtol=1e-6)
    alone = sx.im.sensx(TILES.isel(obs=[1]), of_tiles, features="patch:2", **SMALL)
    np.testing.assert_allclose(alone["value"][0], plain["value"][1], rtol=1e-6)


def test_a_store_is_lazy_and_resumed(tmp_path: Path) -> None:
    calls: list[int] = []

    def fails_later(tiles: np.ndarray) -> np.ndarray:
        calls.append(len(tiles))
        if len(calls) > 14:
            raise KeyboardInterrupt
        return of_tiles(tiles)

    def counted(tiles: np.ndarray) -> np.ndarray:
        calls.append(len(tiles))
        return of_tiles(tiles)

    arguments: dict[str, Any] = {
        **SMALL, "features": "patch:2", "store": tmp_path / "run.zarr", "chunk_size": 1,
    }  # fmt: skip
    plain = sx.im.sensx(TILES, of_tiles, features="patch:2", **SMALL)
    with pytest.raises(KeyboardInterrupt):
        sx.im.sensx(TILES, fails_later, **arguments)
    calls.clear()
    found = sx.im.sensx(TILES, counted, **arguments)
    resumed = sum(calls)
    assert hasattr(found["value"].data, "dask")
    same(found, plain)
    calls.clear()
    same(sx.im.sensx(TILES, counted, **arguments), plain)
    assert sum(calls) < resumed / 2  # nothing is explained again
    with pytest.raises(ValueError, match="holds another run: .*(there were|group)"):
        sx.im.sensx(TILES, of_tiles, **{**arguments, "features": "tile"})
    other = TILES.copy(data=TILES.values.copy())
    other.values[0, 0, 0, 0, 0] ^= 1
    with pytest.raises(ValueError, match="holds another run: .*(the values of 1|1 of 22 rows)"):
        sx.im.sensx(other, of_tiles, **arguments)
    import anndata

    back = anndata.read_zarr(tmp_path / "run.zarr")
    np.testing.assert_array_equal(back.obsm["sensx"], plain["value"].values.reshape(3, -1))
    assert back.obs["sensx_status"].tolist() == plain["status"].values.tolist()


def test_results_can_be_written(tmp_path: Path) -> None:
    found = sx.im.sensx(TILES, of_tiles, features="patch:2", coarse="tile", **SMALL)
    found.to_zarr(tmp_path / "found.zarr", zarr_format=2, consolidated=True)
    back = xr.open_zarr(tmp_path / "found.zarr").load()
    np.testing.assert_array_equal(back["value"], found["value"])
    assert back.attrs["params"] == found.attrs["params"]
    np.testing.assert_array_equal(
        sx.im.stitch(sx.im.to_pixels(back)).values, sx.im.stitch(sx.im.to_pixels(found)).values
    )


def test_inputs_on_which_the_model_fails_are_marked(caplog: pytest.LogCaptureFixture) -> None:
    def fails(tiles: np.ndarray) -> np.ndarray:
        return np.where(np.abs(tiles[:, 0, 0, 0, 0] - TILES.values[1, 0, 0, 0, 0]) < 1e-9, np.nan,
                        of_tiles(tiles))  # fmt: skip

    with caplog.at_level(logging.INFO, logger="sensx_sc"):
        found = sx.im.sensx(TILES, fails, features="pixel", perturb="C", **SMALL)
    assert found["status"].values.tolist()[1] == "failed"
    assert np.isnan(found["value"][1]).all()
    assert np.isfinite(found["value"][[0, 2]]).all()
    assert "1 inputs failed" in caplog.text
    assert "144 of them" not in caplog.text
    assert (
        "explaining fails for 3 inputs of 432 values, 48 of them perturbed, in 16 features"
        in caplog.text
    )


# ---- wrong input

FLOATS = CENTRE.astype(float) / 255
CASES: dict[str, tuple[Any, dict[str, Any], type[Exception], str]] = {
    "array": (TILES.values, {}, TypeError, "`image` must be an xarray.DataArray"),
    "dims": (TILES.transpose("tile", "obs", "c", "y", "x"), {}, ValueError, r"must have the dimensions \(c, y, x\)"),
    "empty": (TILES[:0], {}, ValueError, "`image` is empty"),
    "twins": (CENTRE.assign_coords(obs=["a", "a", "b"]), {}, ValueError, "must be unique; 'a' occurs more than once"),
    "features": (CENTRE, {"features": "pixels"}, ValueError, "`features` must be 'value', 'pixel'"),
    "patch": (CENTRE, {"features": "patch:0"}, ValueError, "'patch:16' .or another size"),
    "patch of what": (CENTRE, {"features": "patch:a"}, ValueError, "`features` must be 'value'"),
    "large patch": (CENTRE, {"features": "patch:9"}, ValueError, "a patch of 9 pixels is larger than the image"),
    "labels of another shape": (CENTRE, {"features": np.ones((3, 3), int)}, ValueError, r"must have the shape \(4, 4\)"),
    "labels that are fractions": (CENTRE, {"features": np.ones((4, 4))}, TypeError, "a label map of whole numbers"),
    "no labels": (CENTRE, {"features": np.zeros((4, 4), int)}, ValueError, "has no label above 0"),
    "labels of which tile": (TILES, {"features": np.ones((4, 4), int)}, ValueError, "needs `perturb` to name that tile"),
    "perturb": (TILES, {"perturb": "X"}, ValueError, "must name some of the tiles NW, N.*; got 'X'"),
    "perturb none": (TILES, {"perturb": []}, ValueError, "must name some of the tiles .*; got none"),
    "perturb an image": (CENTRE, {"perturb": "C"}, ValueError, "`perturb` names tiles, and a plain image has none"),
    "coarse crosses": (CENTRE, {"features": "patch:3", "coarse": "patch:2"}, ValueError, "some cross them"),
    "coarse is wider": (CENTRE, {"features": np.eye(4, dtype=int), "coarse": "patch:2"}, ValueError, "in none of `features`"),
    "range": (FLOATS, {}, ValueError, "`lower` must be given for an image of float64"),
    "upper": (FLOATS, {"lower": 0}, ValueError, "`upper` must be given"),
    "bounds' shape": (CENTRE, {"upper": np.ones((2, 2))}, ValueError, "one for each of the 3 channels"),
    "bounds of text": (CENTRE, {"lower": "a"}, TypeError, "`lower` must be a number or an array"),
    "outside": (CENTRE, {"upper": 3}, ValueError, "outside the domain"),
    "NaN": (FLOATS.where(FLOATS > 0.5), {"lower": 0, "upper": 1}, ValueError, "`image` has .* NaN"),
    "statistics": (CENTRE, {"statistics": ["median"]}, ValueError, "`statistics` may hold"),
    "on_error": (CENTRE, {"on_error": "ignore"}, ValueError, "`on_error` must be one of"),
    "target": (CENTRE, {"target": "x"}, KeyError, "`target` 'x' is not an output"),
    "targets": (CENTRE, {"target": [0, 0]}, ValueError, "one entry a cell, 3; got 2"),
    "norm": (CENTRE, {"group_norm": "l1"}, ValueError, "`group_norm` must be one of"),
    "gradient": (CENTRE, {"estimator": "gradient"}, ValueError, "of_images is a black box|cannot be used"),
}  # fmt: skip


@pytest.mark.parametrize(("image", "more", "error", "words"), CASES.values(), ids=CASES.keys())
def test_wrong_input(image: Any, more: dict[str, Any], error: type[Exception], words: str) -> None:
    model = of_tiles if image is TILES else of_images
    with pytest.raises(error, match=words):
        sx.im.sensx(image, model, **{**SMALL, **more})


@pytest.mark.parametrize("model", [3, "net", nn.Linear])
def test_no_model(model: Any) -> None:
    with pytest.raises(
        TypeError, match="`model` must be a torch.nn.Module or a callable on images"
    ):
        sx.im.sensx(CENTRE, model, **SMALL)


def test_a_module_in_training_mode() -> None:
    with pytest.raises(ValueError, match=r"model.eval\(\)"):
        sx.im.sensx(CENTRE, nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(48, 2)), **SMALL)
