"""Image classifiers on pixels in [0, 1]: the numbers of their own processors."""

from __future__ import annotations

import warnings
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as pil_image
from torch import nn

import sensx_sc as sx
from sensx_sc.models import ImageClassifier
from sensx_sc.models.qoi import make_response

SIDE, N_CLASSES = 16, 3
LABELS = {0: "crane", 1: "pike", 2: "crane"}


class Vit(nn.Module):
    """A small vision transformer in plain torch."""

    def __init__(self, patch: int = 8, width: int = 12, channels: int = 3) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Conv2d(channels, width, patch, stride=patch)
        n = (SIDE // patch) ** 2
        self.place = nn.Parameter(torch.randn(1, n, width) * 0.1)
        layer = nn.TransformerEncoderLayer(width, 2, 24, batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(width, N_CLASSES)

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        tokens = self.embed(pixel_values).flatten(2).transpose(1, 2) + self.place
        return self.head(self.layers(tokens).mean(dim=1))


class AsTransformers(Vit):
    """The same with the attributes of a model of transformers."""

    def __init__(self, problem_type: str | None = None) -> None:
        super().__init__()
        self.config = SimpleNamespace(
            id2label=LABELS, num_channels=3, image_size=SIDE, problem_type=problem_type
        )

    def forward(self, pixel_values: torch.Tensor) -> Any:
        return SimpleNamespace(logits=super().forward(pixel_values), hidden_states=None)


class AsTimm(Vit):
    """The same with the attributes of a model of timm."""

    def __init__(self) -> None:
        super().__init__()
        self.pretrained_cfg = {
            "input_size": (3, SIDE, SIDE), "mean": (0.4, 0.5, 0.6), "std": (0.2, 0.25, 0.3),
            "interpolation": "bicubic", "label_names": ["a", "b", "c"],
        }  # fmt: skip
        self.default_cfg = self.pretrained_cfg


IMAGES = torch.as_tensor(np.random.default_rng(0).random((4, 3, SIDE, SIDE)), dtype=torch.float32)


def normal(images: torch.Tensor, mean: Any, std: Any) -> torch.Tensor:
    mean, std = (torch.tensor(v)[:, None, None] for v in (mean, std))
    return (images - mean) / std


def test_a_model_of_timm_says_how_it_wants_its_pixels() -> None:
    net = AsTimm().eval()
    made = ImageClassifier(net)
    assert made.shape == (3, SIDE, SIDE)
    assert made.output_names == ("a", "b", "c")
    with torch.no_grad():
        expected = net(normal(IMAGES, (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)))
        torch.testing.assert_close(made(IMAGES), expected, atol=1e-6, rtol=1e-6)
        torch.testing.assert_close(made(IMAGES.flatten(1)), expected, atol=1e-6, rtol=1e-6)


def test_a_model_of_timm_itself() -> None:
    """A picture through timm's own transform and model, and through the pixels in between."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those of its own dependencies
        timm = pytest.importorskip("timm")
        torch.manual_seed(0)
        net = timm.create_model("resnet10t", pretrained=False, num_classes=3).eval()
    made = ImageClassifier(net, shape=(3, 32, 32))
    config = {**timm.data.resolve_data_config({}, model=net), "input_size": (3, 32, 32)}
    transform = timm.data.create_transform(**{**config, "crop_pct": 1.0}, is_training=False)
    picture = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    pixels = torch.as_tensor(picture.transpose(2, 0, 1) / 255, dtype=torch.float32)
    with torch.no_grad():
        expected = net(transform(pil_image.fromarray(picture))[None])
        torch.testing.assert_close(made(pixels[None]), expected, atol=1e-6, rtol=1e-5)


PROCESSORS: list[tuple[dict[str, Any], Any]] = [
    ({}, lambda x: normal(x, (0.1, 0.2, 0.3), (0.5, 0.6, 0.7))),
    ({"rescale_factor": 1 / 127.5, "rescale_offset": True},
     lambda x: normal(2 * x - 1, (0.1, 0.2, 0.3), (0.5, 0.6, 0.7))),
    ({"do_normalize": False}, lambda x: x),
    ({"do_rescale": False, "do_normalize": False}, lambda x: 255 * x),
    ({"do_flip_channel_order": True},
     lambda x: normal(x.flip(1), (0.1, 0.2, 0.3), (0.5, 0.6, 0.7))),
]  # fmt: skip


@pytest.mark.parametrize(("how", "seen"), PROCESSORS, ids=[", ".join(h) for h, _ in PROCESSORS])
def test_what_a_processor_does_is_done_inside(how: dict[str, Any], seen: Any) -> None:
    processor = SimpleNamespace(
        **{
            "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True,
            "image_mean": [0.1, 0.2, 0.3], "image_std": [0.5, 0.6, 0.7],
            "size": {"height": SIDE, "width": SIDE}, **how,
        }
    )  # fmt: skip
    net = AsTransformers().eval()
    with torch.no_grad():
        found = ImageClassifier(net, processor)(IMAGES)
        torch.testing.assert_close(found, net(seen(IMAGES)).logits, atol=1e-5, rtol=1e-5)


def test_names_that_occur_twice_say_which_class_they_are() -> None:
    made = ImageClassifier(AsTransformers().eval(), mean=[0.5] * 3, std=[0.5] * 3)
    assert made.output_names == ("crane (0)", "pike", "crane (2)")
    assert sx.models.as_model(made).output_names == made.output_names
    named = ImageClassifier(Vit().eval(), mean=0.5, std=0.5, shape=(3, 16, 16), output_names="xyz")
    assert named.output_names == ("x", "y", "z")


def test_what_its_outputs_are() -> None:
    how = {"mean": [0.5] * 3, "std": [0.5] * 3}
    for problem, kind, independent in (
        (None, "logit", False),
        ("multi_label_classification", "logit", True),
        ("regression", "value", False),
    ):
        model = sx.models.as_model(ImageClassifier(AsTransformers(problem).eval(), **how))
        assert model.kind == kind
        assert model.independent == independent
    many = sx.models.as_model(
        ImageClassifier(AsTransformers("multi_label_classification").eval(), **how)
    )
    rows = IMAGES.flatten(1)
    q = make_response(many)(rows, np.zeros(4, dtype=np.int64))
    np.testing.assert_allclose(q, torch.sigmoid(many.outputs(rows)[:, 0]).numpy(), rtol=1e-6)


def test_explained_as_a_plain_function_around_it() -> None:
    """Patches of pixels; the embedding of patches is an affine stem."""
    net = AsTransformers().eval()
    made = ImageClassifier(net, mean=[0.5] * 3, std=[0.25] * 3)
    double = AsTransformers().double().eval()
    double.load_state_dict(net.state_dict())

    def plain(rows: np.ndarray) -> np.ndarray:
        images = (torch.as_tensor(rows).reshape(-1, 3, SIDE, SIDE) - 0.5) / 0.25
        with torch.no_grad():
            return torch.softmax(double(images).logits, dim=1).numpy()

    mask = np.zeros((3, SIDE, SIDE), dtype=bool)
    mask[:, :3, :4] = True
    how = {
        "lower": 0, "upper": 1, "n_walks": 8, "n_samples": 40, "tau": 1e-5, "target": 1,
        "mask": mask.ravel(),
    }  # fmt: skip
    x = IMAGES[:2].flatten(1).double().numpy()
    found = sx.core.explain(x, made, precision="float64", **how)
    expected = sx.core.explain(x, plain, **how)
    assert found.params["evaluator"] == "stem"
    np.testing.assert_allclose(found.delta_star, expected.delta_star)
    np.testing.assert_allclose(found.value, expected.value, rtol=1e-6, atol=1e-12)
    assert np.nanmax(found.value) > 0


def test_the_processor_of_transformers_itself() -> None:
    """A picture through the library's processor and model, and through the pixels in between."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those of its own dependencies
        transformers = pytest.importorskip("transformers")
        transformers.logging.set_verbosity_error()
        processor = transformers.ViTImageProcessor(
            size={"height": 32, "width": 32}, image_mean=[0.4, 0.5, 0.6], image_std=[0.2, 0.3, 0.4]
        )
        config = transformers.ViTConfig(
            image_size=32, patch_size=8, num_hidden_layers=2, hidden_size=16,
            num_attention_heads=2, intermediate_size=24, num_labels=3, id2label=LABELS,
        )  # fmt: skip
        torch.manual_seed(0)
        net = transformers.ViTForImageClassification(config).eval()
    made = ImageClassifier(net, processor)
    assert made.shape == (3, 32, 32)
    picture = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    pixels = made.pixels([picture])
    assert pixels.shape == (1, 3, 32, 32)
    assert 0 <= pixels.min() < pixels.max() <= 1
    with torch.no_grad():
        expected = net(**processor(images=[picture], return_tensors="pt")).logits
        found = made(torch.as_tensor(pixels))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    x = pixels.reshape(1, -1)
    mask = np.zeros((3, 32, 32), dtype=bool)
    mask[:, :2, :2] = True
    r = sx.core.explain(
        x, made, lower=0, upper=1, mask=mask.ravel(), n_walks=4, n_samples=20, tau=1e-6,
        deltas=[0.5, 1.0],
    )  # fmt: skip
    np.testing.assert_allclose(r.qoi, torch.softmax(expected, dim=1).max().numpy(), atol=1e-5)
    assert r.output_names[r.target[0]] == made.output_names[expected.argmax()]
    assert np.isfinite(r.value[0, mask.ravel()]).all()


@pytest.mark.parametrize(
    ("model", "how", "error", "match"),
    [
        ("net", {}, TypeError, "`model` must be a torch.nn.Module of images; got 'net'"),
        (Vit(), {}, ValueError, r"pass `shape`, \(c, h, w\): nothing says how large the"),
        (Vit(), {"shape": (3, 16, 16)}, ValueError, "pass the `processor` of the model, or `mean`"),
        (Vit(), {"shape": (3, 16)}, ValueError, r"`shape` must be three whole numbers.* \(3, 16\)"),
        (Vit(), {"shape": (3, 0, 16)}, ValueError, "`shape` must be three whole numbers"),
        (
            AsTransformers(), {"mean": [0.5, 0.5], "std": [1, 1]}, ValueError,
            "`mean` and `std` must have a number for each of the 3 channels",
        ),
        (AsTransformers(), {"mean": [0.5] * 3, "std": [1, 0, 1]}, ValueError, "`std` above 0"),
        (AsTransformers(), {"mean": [0.5] * 3}, ValueError, "pass the `processor` of the model"),
    ],
)  # fmt: skip
def test_what_is_refused(
    model: Any, how: dict[str, Any], error: type[Exception], match: str
) -> None:
    with pytest.raises(error, match=match):
        ImageClassifier(model, **how)


def test_a_bare_model_of_transformers_is_told_what_to_do() -> None:
    with pytest.raises(TypeError, match=r"got SimpleNamespace.*sx\.models\.ImageClassifier"):
        sx.models.as_model(AsTransformers().eval()).outputs(IMAGES)


def test_a_model_in_training_and_pixels_without_a_processor() -> None:
    made = ImageClassifier(AsTimm())
    with pytest.raises(ValueError, match=r"training mode.*Call model\.eval\(\) first"):
        sx.models.as_model(made)
    with pytest.raises(ValueError, match="there is no `processor`"):
        made.pixels([])
