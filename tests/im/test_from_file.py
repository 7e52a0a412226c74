"""Files: TIFF of any axes, OME-TIFF with levels, pictures; lazily where they can be."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import sensx_sc as sx

if TYPE_CHECKING:
    from pathlib import Path

tifffile = pytest.importorskip("tifffile")
RGB = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)


def check(image: Any, yxc: np.ndarray, *, lazy: bool = True) -> None:
    assert image.dims == ("c", "y", "x")
    assert hasattr(image.data, "dask") == lazy
    np.testing.assert_array_equal(image.transpose("y", "x", "c").values, yxc)


def test_rgb_tiff(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", RGB, photometric="rgb", tile=(16, 16))
    image = sx.im.from_file(tmp_path / "a.tif", library_id="slide")
    check(image, RGB)
    assert image["c"].values.tolist() == ["r", "g", "b"]
    assert image.attrs == {"scalef": 1.0, "library_id": "slide"}


def test_only_what_is_asked_for_is_read(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", RGB, photometric="rgb", tile=(16, 16))
    image = sx.im.from_file(tmp_path / "a.tif")
    assert max(image.chunks[1]) == 16
    np.testing.assert_array_equal(image[0, 20:22, 30:33].values, RGB[20:22, 30:33, 0])


def test_channels_first_and_grey(tmp_path: Path) -> None:
    many = np.random.default_rng(1).random((5, 20, 30)).astype(np.float32)
    tifffile.imwrite(tmp_path / "m.tif", many, photometric="minisblack", metadata={"axes": "CYX"})
    image = sx.im.from_file(tmp_path / "m.tif")
    check(image, many.transpose(1, 2, 0))
    assert image["c"].values.tolist() == ["c0", "c1", "c2", "c3", "c4"]
    tifffile.imwrite(tmp_path / "g.tif", many[0])
    check(sx.im.from_file(tmp_path / "g.tif"), many[0][:, :, None])


def write_ome(path: Path) -> np.ndarray:
    stack = np.random.default_rng(2).integers(0, 999, (2, 64, 48), dtype=np.uint16)
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        described = {
            "axes": "CYX",
            "PhysicalSizeX": 0.5,
            "PhysicalSizeXUnit": "µm",
            "Channel": {"Name": ["DAPI", "CD3"]},
        }
        file.write(stack, subifds=2, metadata=described, tile=(16, 16))
        file.write(stack[:, ::2, ::2], subfiletype=1, tile=(16, 16))
        file.write(stack[:, ::4, ::4], subfiletype=1, tile=(16, 16))
    return stack


@pytest.mark.parametrize("level", [0, 1, 2])
def test_ome_tiff_with_levels(tmp_path: Path, level: int) -> None:
    stack = write_ome(tmp_path / "s.ome.tif")
    image = sx.im.from_file(tmp_path / "s.ome.tif", level=level)
    step = 2**level
    check(image, stack[:, ::step, ::step].transpose(1, 2, 0))
    assert image["c"].values.tolist() == ["DAPI", "CD3"]
    assert image.attrs["mpp"] == 0.5
    assert image.attrs["scalef"] == 1 / step
    np.testing.assert_allclose(image["y"][:2], [step / 2, 3 * step / 2])


def test_series(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "two.tif") as file:
        file.write(RGB[:, :, 0])
        file.write(RGB[:30, :, 1])
    image = sx.im.from_file(tmp_path / "two.tif", series=1)
    check(image, RGB[:30, :, 1:2])


def test_pictures(tmp_path: Path) -> None:
    from PIL import Image

    Image.fromarray(RGB).save(tmp_path / "a.png")
    check(sx.im.from_file(str(tmp_path / "a.png"), scalef=0.5), RGB, lazy=False)
    Image.fromarray(RGB[:, :, 0]).save(tmp_path / "g.png")
    check(sx.im.from_file(tmp_path / "g.png"), RGB[:, :, :1], lazy=False)
    palette = Image.fromarray(RGB).quantize(256)
    palette.save(tmp_path / "p.png")
    found = sx.im.from_file(tmp_path / "p.png")
    np.testing.assert_array_equal(found.values[0], np.asarray(palette.convert("RGB"))[:, :, 0])


def test_without_tifffile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tifffile.imwrite(tmp_path / "a.tif", RGB)
    monkeypatch.setitem(sys.modules, "tifffile", None)
    with pytest.raises(ImportError, match=r"TIFF files need tifffile: pip install"):
        sx.im.from_file(tmp_path / "a.tif")


def test_stacks_of_planes_are_refused(tmp_path: Path) -> None:
    stack = np.zeros((4, 5, 6, 7), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "z.tif", stack, metadata={"axes": "ZCYX"}, photometric="minisblack")
    with pytest.raises(ValueError, match="has the axes ZCYX of sizes .*Choose a plane"):
        sx.im.from_file(tmp_path / "z.tif")
    described: dict[str, Any] = {"metadata": {"axes": "ZCYX"}, "photometric": "minisblack"}
    tifffile.imwrite(tmp_path / "o.tif", stack[:1], **described)
    assert sx.im.from_file(tmp_path / "o.tif").shape == (5, 6, 7)


def test_files_are_open_only_while_they_are_read(tmp_path: Path) -> None:
    import cloudpickle

    tifffile.imwrite(tmp_path / "a.tif", RGB, photometric="rgb", tile=(16, 16))
    image = sx.im.from_file(tmp_path / "a.tif")
    there = cloudpickle.loads(cloudpickle.dumps(image))  # as to a worker of a cluster
    np.testing.assert_array_equal(there.values, image.values)
