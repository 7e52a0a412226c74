"""``im.property_gradient``: planted dependence on staining is found, and nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from sensx_sc.im._measures import mean_eosin, mean_haematoxylin
from sensx_sc.im._property_gradient import property_gradient
from sensx_sc.im.edits import EDITORS, stained


@pytest.fixture
def images(rng: np.random.Generator) -> np.ndarray:
    amounts = np.abs(rng.normal([[[[0.4]], [[0.5]], [[0.0]]]], 0.15, (5, 3, 10, 10)))
    amounts[:, 2] = 0
    amounts[:, 0] *= np.linspace(0.7, 1.3, 5)[:, None, None]
    return stained(amounts)


def nuclei(batch: np.ndarray) -> np.ndarray:
    return mean_haematoxylin(np.asarray(batch))


def test_a_model_of_haematoxylin(images: np.ndarray) -> None:
    """Its slope is 1 a unit of haematoxylin; eosin is nothing to it."""
    found = property_gradient(
        images, nuclei, ["haematoxylin", "eosin"], n_placebos=19, progress=False
    )
    table = found.table.set_index("property")
    assert table.loc["haematoxylin", "epgm"] == pytest.approx(1, rel=0.02)
    assert table.loc["haematoxylin", "net"] == pytest.approx(1, rel=0.02)
    assert table.loc["eosin", "epgm"] < 0.02
    # Few colours move haematoxylin more, for the same distance, than haematoxylin; all beat eosin.
    assert table.loc["haematoxylin", "p_placebo"] < 0.4
    assert table.loc["eosin", "p_placebo"] > 0.95
    assert table.loc["haematoxylin", "n_inputs"] == 5
    assert table.loc["haematoxylin", "side_change"] < 0.05
    assert found.paper is None
    assert set(found.curves["property"]) == {"haematoxylin", "eosin"}
    assert found.selectivity.loc["haematoxylin", "eosin"] < 0.05


def test_several_outputs_are_groups(images: np.ndarray) -> None:
    def both(batch: np.ndarray) -> np.ndarray:
        batch = np.asarray(batch)
        return np.stack([mean_haematoxylin(batch), -2 * mean_eosin(batch)], axis=1)

    found = property_gradient(
        images, both, ["haematoxylin", "eosin"], target=["h", "e"], output_names=["h", "e"],
        n_placebos=0, progress=False,
    )  # fmt: skip
    net = found.table.set_index(["group", "property"])["net"]
    np.testing.assert_allclose(net["h", "haematoxylin"], 1, rtol=0.02)
    np.testing.assert_allclose(net["e", "eosin"], -2, rtol=0.02)
    assert abs(net["h", "eosin"]) < 0.02


def test_all_eight_and_the_published_scores(images: np.ndarray) -> None:
    found = property_gradient(
        images[:2], nuclei, n_placebos=2, paper_compat=True, n_permutations=50, progress=False
    )
    assert found.table["property"].tolist() == list(EDITORS)
    assert found.paper is not None
    assert (found.paper["epgm_paper"] >= 0).all()


def test_a_torch_classifier(images: np.ndarray) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten(), nn.Linear(2 * 64, 2)).eval()
    found = property_gradient(images, net, ["brightness"], n_placebos=3, progress=False)
    assert found.table["flips"].notna().all()
    assert found.curves["q"].between(0, 1).all()
    again = property_gradient(images, net, ["brightness"], n_placebos=3, progress=False)
    np.testing.assert_array_equal(found.table["epgm"], again.table["epgm"])
    with pytest.raises(ValueError, match="Call model.eval"):
        property_gradient(images, nn.Sequential(nn.Dropout(0.5), net), ["brightness"])


WRONG: dict[str, tuple[Any, dict[str, Any], type[Exception], str]] = {
    "shape": (np.ones((2, 8, 8)), {}, ValueError, r"`images` must have shape \(N, 3, y, x\)"),
    "channels last": (np.ones((2, 8, 8, 3)), {}, ValueError, "must have shape"),
    "below": (np.full((2, 3, 4, 4), -5.0), {}, ValueError, "values from 0 to 255; got -5 to -5"),
    "unit range": (np.full((2, 3, 4, 4), 0.5), {}, ValueError, "these end at 1: multiply"),
    "NaN": (np.full((2, 3, 4, 4), np.nan), {}, ValueError, "values from 0 to 255"),
    "editor": (None, {"editors": ["sepia"]}, KeyError, "'sepia' is no editor of images; there are"),
    "no editor": (None, {"editors": []}, TypeError, "at least one; got"),
    "kind": (None, {"editors": {"a": 3}}, TypeError, "must be names or ImageEditors"),
    "placebos": (None, {"n_placebos": -1}, ValueError, "`n_placebos` must be a whole number"),
    "permutations": (None, {"n_permutations": 0.5}, ValueError, "`n_permutations` must be a whole"),
    "target": (None, {"target": "gene"}, KeyError, "'gene' is not an output"),
    "no target": (None, {"target": []}, ValueError, "`target` is empty"),
    "model": (None, {"model": 3}, TypeError, "`model` must be a torch.nn.Module or a callable"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input(images: np.ndarray, case: str) -> None:
    given, how, error, message = WRONG[case]
    how = {"model": nuclei, "n_placebos": 0, "progress": False, **how}
    with pytest.raises(error, match=message):
        property_gradient(images if given is None else given, **how)
