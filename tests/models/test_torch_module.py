"""torch modules: read, never changed."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from sensx_sc.core import explain
from sensx_sc.models import as_model


def net(last: nn.Module | None = None) -> nn.Sequential:
    torch.manual_seed(1)
    layers = [nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 2)]
    return nn.Sequential(*layers, *([last] if last else [])).eval()


@pytest.mark.parametrize("precision", ["auto", "float32", "float64"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_a_module_is_never_changed(device: str, precision: str, dtype: torch.dtype) -> None:
    module = net().to(dtype)
    module[0].weight.requires_grad_(requires_grad=False)
    kept = copy.deepcopy(module.state_dict())
    places = {name: p.data_ptr() for name, p in module.named_parameters()}
    r = explain(np.zeros((2, 4)), module, lower=-1, upper=1, n_walks=8, device=device,
                precision=precision, target=0, tau=1e-3, deltas=[1.0])  # fmt: skip
    assert np.isfinite(r.value).all()
    for name, value in module.state_dict().items():
        assert torch.equal(value, kept[name]), name
    for name, p in module.named_parameters():
        assert p.data_ptr() == places[name]
        assert p.dtype == dtype
        assert p.device.type == "cpu"
        assert p.grad is None
        assert p.requires_grad == (name != "0.weight")
    assert not module.training


def test_rows_get_the_type_and_device(device: str) -> None:
    model = as_model(net(), device=device)
    for dtype in model.dtypes:
        rows = torch.zeros((3, 4), dtype=dtype, device=model.device(dtype))
        out = model.outputs(rows)
        assert out.dtype == dtype
        assert out.shape == (3, 2)
        assert not out.requires_grad


@pytest.mark.parametrize(
    ("module", "kind"),
    [
        (net(), "logit"),
        (net(nn.Softmax(dim=1)), "probability"),
        (net(nn.Sigmoid()), "probability"),
        (nn.Sequential(nn.Linear(4, 2), nn.Sigmoid(), nn.Linear(2, 1)), "logit"),
    ],
)
def test_what_the_outputs_mean(module: nn.Module, kind: str) -> None:
    assert as_model(module).kind == kind


def test_the_module_speaks_for_itself() -> None:
    module = net()
    module.feature_names = ["A", "B", "C", "D"]
    module.output_names = np.array(["x", "y"])
    module.input_range = (0.0, 9.0)
    module.task = "regression"
    made = as_model(module)
    assert made.feature_names == ("A", "B", "C", "D")
    assert made.output_names == ("x", "y")
    assert made.input_range == (0.0, 9.0)
    assert made.kind == "value"
    assert as_model(module, feature_names="EFGH").feature_names == tuple("EFGH")


@pytest.mark.parametrize(
    ("module", "part"),
    [
        (nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.2)), r"1 \(Dropout\)"),
        (nn.Sequential(nn.Linear(4, 4), nn.AlphaDropout(0.2)), r"1 \(AlphaDropout\)"),
        (nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 4)), r"0 \(BatchNorm1d\)"),
        (nn.Dropout(0.2), r"the module \(Dropout\)"),
        (nn.Sequential(nn.RReLU()), r"0 \(RReLU\)"),
        (nn.Sequential(nn.LSTM(4, 4, num_layers=2, dropout=0.1)), r"0 \(LSTM\)"),
        (nn.Sequential(nn.MultiheadAttention(4, 2, dropout=0.1)), r"0 \(MultiheadAttention\)"),
    ],
)
def test_training_mode_is_refused(module: nn.Module, part: str) -> None:
    with pytest.raises(ValueError, match=rf"in training mode: {part} is active.*model\.eval\(\)"):
        as_model(module.train())
    as_model(module.eval())


def test_training_mode_that_changes_nothing_is_fine() -> None:
    as_model(nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.0)).train())
    as_model(nn.Sequential(nn.GRU(4, 4), nn.MultiheadAttention(4, 2)).train())


class Odd(nn.Module):
    def __init__(self, returned: object) -> None:
        super().__init__()
        self.returned = returned

    def forward(self, z: torch.Tensor) -> object:
        return self.returned(z) if callable(self.returned) else self.returned


@pytest.mark.parametrize(
    ("returned", "error", "match"),
    [
        (lambda z: (z, z), TypeError, "Odd must return a tensor .* got tuple. Wrap it in a funct"),
        (lambda z: {"logits": z}, TypeError, "got dict"),
        (lambda z: z[:1], ValueError, r"\(Odd\) must return one row of outputs for each input row"),
        (lambda z: z[:, None, :], ValueError, "one row of outputs for each input row"),
        (lambda z: z * torch.nan, ValueError, "only NaN or infinite values"),
    ],
)
def test_odd_outputs(returned: object, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        explain(np.zeros((2, 4)), Odd(returned).eval(), lower=-1, upper=1, n_walks=8)


def test_a_module_without_parameters_and_one_that_squeezes() -> None:
    for batch_size in (1, 50):
        r = explain(np.zeros((1, 2)), Odd(lambda z: (z @ z.new_tensor([[1.0], [2.0]])).squeeze()),
                    lower=-1, upper=1, n_walks=8, deltas=[1.0], qoi="logit",
                    batch_size=batch_size)  # fmt: skip
        np.testing.assert_allclose(r.value, [[1, 2]], rtol=1e-4)


GENES = [f"g{j}" for j in range(4)]
HOW = {"lower": -1, "upper": 1, "n_walks": 20, "n_samples": 50, "tau": 0.01}


def test_explained_as_a_plain_function_around_it() -> None:
    """By its stem, in double precision, the numbers of full evaluation."""
    x = np.random.default_rng(0).uniform(-1, 1, size=(3, 4))
    module = nn.Sequential(nn.Linear(4, 2), nn.Tanh(), nn.Linear(2, 3)).eval()
    double = copy.deepcopy(module).double()

    def plain(rows: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return torch.softmax(double(torch.as_tensor(rows)), dim=1).numpy()

    found = explain(x, module, target=1, precision="float64", **HOW)
    expected = explain(x, plain, target=1, **HOW)
    assert found.params["evaluator"] == "stem"
    assert expected.params["evaluator"] == "dense"
    assert found.status == expected.status
    np.testing.assert_allclose(found.qoi, expected.qoi, rtol=1e-6)
    np.testing.assert_allclose(found.value, expected.value, rtol=1e-6)


def test_genes_are_matched_by_name() -> None:
    model = as_model(net(), feature_names=GENES)
    x = np.zeros((1, 4))
    with pytest.raises(ValueError, match="position 0 holds 'g3', the model expects 'g0'"):
        explain(x, model, names=GENES[::-1], **HOW)
    with pytest.raises(ValueError, match="1 missing: g3; 1 unknown to the model: other"):
        explain(x, model, names=[*GENES[:3], "other"], **HOW)
    with pytest.raises(ValueError, match="4 missing: .* None is there: are these names of two"):
        explain(x, model, names=["a", "b", "c", "d"], **HOW)
