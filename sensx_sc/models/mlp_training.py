"""The training loop of fit_mlp, and the figures of merit of a classifier."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from sensx_sc.models.mlp_data import is_sparse

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

EVALUATION_BATCH = 1024


@dataclass(frozen=True)
class Recipe:
    """How a net is trained; see fit_mlp."""

    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    device: torch.device
    seed: int
    progress: bool


def row_reader(rows: Any, device: torch.device, budget: int) -> Callable[[Any], Tensor]:
    """A function from positions to float32 rows (B, n) on the device.

    A sparse matrix that fits into ``budget`` bytes when dense is made dense once.
    """
    if is_sparse(rows) and rows.shape[0] * rows.shape[1] * 4 > budget:
        return lambda positions: torch.from_numpy(rows[positions].toarray()).to(device)
    dense = torch.from_numpy(rows.toarray() if is_sparse(rows) else rows).to(device)
    return lambda positions: dense[torch.as_tensor(positions, device=device)]


def train(
    net: nn.Module,
    read: Callable[[Any], Tensor],
    codes: NDArray[np.int64],
    parts: tuple[NDArray[np.int64], NDArray[np.int64]],
    recipe: Recipe,
    *,
    parameters: Sequence[dict[str, Any]] | None = None,
    penalty: Callable[[], Tensor] | None = None,
    after_epoch: Callable[[], object] = lambda: None,
) -> tuple[int, float]:
    """Train in place; the net ends in its state of best validation F1 (macro if multiclass).

    Equal F1 is decided by the lower validation loss: small validation sets often reach the same
    F1 at many epochs, of which the first would leave the net unsure of every cell.

    Parameters
    ----------
    net
        One logit for two classes, else one output a class.
    read
        Positions to rows, see row_reader.
    codes
        Class of every cell.
    parts
        Positions of the training and of the validation cells.
    recipe
        Epochs, batch size and so on.
    parameters
        Groups of parameters with rates of their own; all alike by default.
    penalty
        What is added to the loss of every batch.
    after_epoch
        Called after each epoch.

    Returns
    -------
    The epoch of that state, counted from 1, and its validation F1.
    """
    from tqdm.auto import tqdm

    train_part, validation_part = parts
    targets = torch.as_tensor(codes, device=recipe.device)
    loss = class_loss(codes[train_part], binary=_n_outputs(net) == 1, device=recipe.device)
    optimizer = torch.optim.AdamW(
        net.parameters() if parameters is None else parameters,
        lr=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
        fused=True,
    )
    shuffle = torch.Generator().manual_seed(recipe.seed)
    best, best_epoch, state = (-1.0, 0.0), 0, copy.deepcopy(net.state_dict())
    bar = tqdm(range(1, recipe.epochs + 1), desc="fit_mlp", disable=not recipe.progress)
    for epoch in bar:
        net.train()
        order = train_part[torch.randperm(len(train_part), generator=shuffle).numpy()]
        for start in range(0, len(order), recipe.batch_size):
            positions = order[start : start + recipe.batch_size]
            optimizer.zero_grad()
            value = loss(net(read(positions)), targets[positions])
            torch.autograd.backward(value if penalty is None else value + penalty())
            optimizer.step()
        net.eval()
        after_epoch()
        outputs = predict(net, read, validation_part)
        lost = float(loss(outputs, targets[validation_part]))
        f1 = merits(outputs, codes[validation_part])["f1"]
        bar.set_postfix(validation_f1=f"{f1:.3f}", validation_loss=f"{lost:.3g}")
        if (f1, -lost) > best:
            best, best_epoch, state = (f1, -lost), epoch, copy.deepcopy(net.state_dict())
    net.load_state_dict(state)
    return best_epoch, best[0]


def predict(net: nn.Module, read: Callable[[Any], Tensor], positions: NDArray[np.int64]) -> Tensor:
    """Outputs (n, K) without gradient, a limited number of rows at a time."""
    starts = range(0, len(positions), EVALUATION_BATCH)
    with torch.no_grad():
        return torch.cat([net(read(positions[i : i + EVALUATION_BATCH])) for i in starts])


def merits(outputs: Tensor, codes: NDArray[np.int64]) -> dict[str, Any]:
    """Accuracy, F1, precision and recall: of the positive class for one logit, else macro.

    For several outputs, ``per_class`` has a list of dictionaries, one a class. A ratio 0/0 is 0.
    """
    logits = outputs.cpu().numpy()
    binary = logits.shape[1] == 1
    called = (logits[:, 0] > 0).astype(np.int64) if binary else logits.argmax(axis=1)
    of_class = [_merits_of(called, codes, k) for k in range(2 if binary else logits.shape[1])]
    accuracy = float(np.mean(called == codes))
    if binary:
        return {"accuracy": accuracy, **of_class[1]}
    macro = {key: float(np.mean([m[key] for m in of_class])) for key in _MERITS}
    return {"accuracy": accuracy, **macro, "per_class": of_class}


_MERITS = ("f1", "precision", "recall")


def _merits_of(called: NDArray[np.int64], codes: NDArray[np.int64], k: int) -> dict[str, Any]:
    hits = int(np.count_nonzero((called == k) & (codes == k)))
    n_called, n_true = int(np.count_nonzero(called == k)), int(np.count_nonzero(codes == k))
    return {
        "f1": 2 * hits / max(n_called + n_true, 1),
        "precision": hits / max(n_called, 1),
        "recall": hits / max(n_true, 1),
        "n_test": n_true,
    }


def class_loss(
    codes: NDArray[np.int64], *, binary: bool, device: torch.device
) -> Callable[[Tensor, Tensor], Tensor]:
    """Cross entropy, each class weighted to the same total over the training cells."""
    sizes = np.bincount(codes)
    if binary:
        ratio = torch.tensor(sizes[0] / sizes[1], dtype=torch.float32, device=device)
        binary_loss = nn.BCEWithLogitsLoss(pos_weight=ratio)
        return lambda outputs, targets: binary_loss(outputs[:, 0], targets.to(outputs.dtype))
    weight = torch.tensor(sizes.sum() / (len(sizes) * sizes), dtype=torch.float32, device=device)
    return nn.CrossEntropyLoss(weight=weight)


def _n_outputs(net: nn.Module) -> int:
    return list(net.parameters())[-1].shape[0]  # the last bias
