"""Multilayer perceptrons on expression: the paper's classifiers, trained in a minute."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import nn

from sensx_sc.logger import logger
from sensx_sc.models.mlp_data import labelled_cells, stratified_split
from sensx_sc.models.mlp_training import Recipe, merits, predict, row_reader, train

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from anndata import AnnData
    from numpy.typing import NDArray
    from torch import Tensor

FORMAT = "sensx_sc.ExpressionMLP 1"
DEFAULT_STEPS = 500
LEAST_EPOCHS = 10


class ExpressionMLP(nn.Module):
    """A multilayer perceptron from expression rows (B, n_features) to logits (B, n_outputs).

    Linear layers with ReLU between them. It carries what an explanation needs: the names of its
    features and outputs and the range of values it was trained on.

    Parameters
    ----------
    feature_names
        Names of the features, in the order of the input's columns.
    output_names
        Names of the outputs: one for a net with a single logit (its positive class), else one a
        class (softmax).
    hidden
        Sizes of the hidden layers; ``()`` is logistic regression.
    input_range
        Smallest and largest value of the training matrix.
    report
        Figures of the held-out test, see :func:`fit_mlp`.
    seed
        Of the initial weights, uniform in +-1/sqrt(inputs of the layer); torch's global random
        state is left alone.

    Attributes
    ----------
    layers
        The :class:`torch.nn.Sequential` that does the work.
    task
        ``"classification"``.

    Examples
    --------
    >>> import sensx_sc as sx, torch
    >>> net = sx.models.ExpressionMLP(["CD3D", "MS4A1"], ["B cell"], hidden=(4,))
    >>> net(torch.zeros(5, 2)).shape
    torch.Size([5, 1])
    """

    task: Literal["classification"] = "classification"

    def __init__(
        self,
        feature_names: Sequence[str],
        output_names: Sequence[str],
        *,
        hidden: Sequence[int] = (250, 50),
        input_range: tuple[float, float] | None = None,
        report: dict[str, Any] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.feature_names = tuple(feature_names)
        self.output_names = tuple(output_names)
        self.hidden = _hidden_sizes(hidden)
        self.input_range = input_range
        self.report: dict[str, Any] = report or {}
        sizes = [len(self.feature_names), *self.hidden, len(self.output_names)]
        generator = torch.Generator().manual_seed(seed)
        parts: list[nn.Module] = []
        for n_in, n_out in pairwise(sizes):
            linear = nn.Linear(n_in, n_out, device="meta").to_empty(device="cpu")
            for parameter in linear.parameters():
                bound = 1 / math.sqrt(n_in)
                nn.init.uniform_(parameter, -bound, bound, generator=generator)
            parts += [linear, nn.ReLU()]
        self.layers = nn.Sequential(*parts[:-1])

    def forward(self, rows: Tensor) -> Tensor:
        """Logits (B, n_outputs) of rows (B, n_features)."""
        logits: Tensor = self.layers(rows)
        return logits

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write weights, names and report to one file, readable without running code from it.

        Parameters
        ----------
        path
            The file, overwritten if it exists.

        Examples
        --------
        >>> import sensx_sc as sx
        >>> net = sx.models.ExpressionMLP(["CD3D", "MS4A1"], ["B cell"], hidden=(4,))
        >>> net.save("b_cell.pt")
        >>> sx.models.ExpressionMLP.load("b_cell.pt").output_names
        ('B cell',)
        """
        about = {
            "feature_names": self.feature_names,
            "output_names": self.output_names,
            "hidden": self.hidden,
            "input_range": self.input_range,
            "report": self.report,
        }
        weights = {name: value.cpu() for name, value in self.state_dict().items()}
        torch.save({"format": FORMAT, "about": json.dumps(about), "weights": weights}, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> ExpressionMLP:
        """Read a net that :meth:`save` wrote, in eval mode on the CPU.

        Parameters
        ----------
        path
            The file.

        Returns
        -------
        The net.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If it is not one that :meth:`save` wrote.
        """
        from pickle import UnpicklingError

        try:
            stored = torch.load(path, map_location="cpu", weights_only=True)
        except (UnpicklingError, RuntimeError, EOFError) as error:
            msg = f"`path` {str(path)!r} is not a file written by ExpressionMLP.save()."
            raise ValueError(msg) from error
        if not isinstance(stored, dict) or stored.get("format") != FORMAT:
            msg = f"`path` {str(path)!r} is a torch file, but not written by ExpressionMLP.save()."
            raise ValueError(msg)
        about = json.loads(stored["about"])
        if about["input_range"] is not None:
            about["input_range"] = tuple(about["input_range"])
        if "test_obs_names" in about["report"]:
            about["report"]["test_obs_names"] = tuple(about["report"]["test_obs_names"])
        net = cls(**about)
        net.load_state_dict(stored["weights"])
        return net.eval()


def fit_mlp(
    adata: AnnData,
    groupby: str,
    group: object | None = None,
    *,
    hidden: Sequence[int] = (250, 50),
    layer: str | None = None,
    mask_obs: str | Sequence[bool] | NDArray[np.bool_] | None = None,
    mask_var: str | Sequence[bool] | NDArray[np.bool_] | None = None,
    epochs: int | None = None,
    batch_size: int = 64,
    learning_rate: float = 1e-4,
    weight_decay: float = 1e-4,
    validation_fraction: float = 0.15,
    test_fraction: float = 0.15,
    device: str | torch.device = "auto",
    seed: int | None = None,
    progress: bool | None = None,
) -> ExpressionMLP:
    """Train one of the paper's classifiers on cells with labels (appendix F.3).

    With ``group``, a net with one logit that tells this group from the rest (binary cross entropy,
    positive cells weighted by negatives / positives); without, a net with one output a class
    (softmax cross entropy, classes weighted to the same total). AdamW; a stratified 70/15/15
    split; the state of the best validation F1 is kept (macro F1 for many classes), the lower
    validation loss deciding between equals.

    Parameters
    ----------
    adata
        Cells; not changed. Sparse, dense, integer, backed matrices and views will do.
    groupby
        Column of ``.obs`` with the classes; cells where it is NaN are left out (logged).
    group
        The class to tell from the rest, or None for all classes at once.
    hidden
        Sizes of the hidden layers.
    layer
        Layer to train on; None for ``.X``.
    mask_obs, mask_var
        Cells and genes to use: bool arrays or names of bool columns.
    epochs
        Passes over the training cells; None for as many as make 500 steps, and at least the
        paper's 10.
    batch_size, learning_rate, weight_decay
        Of AdamW.
    validation_fraction, test_fraction
        Shares of the cells of each class; at least one cell of each class goes to each part.
    device
        Where to train: "auto" (a GPU if there is one), "cpu", "cuda", ...; the net comes back on
        the CPU.
    seed
        Of split, initial weights and order of cells: the same seed gives the same net on the same
        machine. torch's global random state is left alone. None: ``sx.settings.seed``.
    progress
        Show a progress bar; None for ``sx.settings.progress``.

    Returns
    -------
    The net, in eval mode, with ``feature_names``, ``output_names`` (the group's name, or one a
    class), ``input_range`` and ``report``, a dictionary:

    - ``f1``, ``precision``, ``recall``, ``accuracy`` on the test cells (macro if many classes)
    - ``per_class``: for many classes, name to ``f1``, ``precision``, ``recall``, ``n_test``
    - ``n_train``, ``n_validation``, ``n_test``: numbers of cells
    - ``epoch``, ``epochs``, ``validation_f1``: the epoch kept, those trained, its validation F1
    - ``test_obs_names``: names of the test cells, a tuple

    Raises
    ------
    KeyError
        If ``groupby``, ``layer`` or a mask is a name that adata does not have.
    TypeError
        If the classes are floats, a mask is not bool, or the matrix is not numeric.
    ValueError
        If ``group`` is no category, a class has fewer than 3 cells, there is one class only, a
        mask has the wrong length, the matrix has NaN or infinite values, or a number is out of
        its range.

    Examples
    --------
    >>> import sensx_sc as sx
    >>> adata = sx.datasets.toy()
    >>> net = sx.models.fit_mlp(adata, "cell_type", "B", hidden=(16,), learning_rate=1e-2)
    >>> net.output_names, net.report["f1"]
    (('B',), 1.0)
    """
    from sensx_sc.models.devices import find_device
    from sensx_sc.settings import settings

    seed = settings.seed if seed is None else seed
    _check_numbers(epochs, batch_size, learning_rate, weight_decay, seed)
    hidden = _hidden_sizes(hidden)
    where = find_device(settings.device if device == "auto" else device)
    data = labelled_cells(adata, groupby, group, layer=layer, mask_var=mask_var, mask_obs=mask_obs)
    train_part, validation_part, test_part = stratified_split(
        data.codes,
        validation_fraction=validation_fraction,
        test_fraction=test_fraction,
        seed=seed,
    )
    if epochs is None:
        epochs = max(LEAST_EPOCHS, math.ceil(DEFAULT_STEPS * batch_size / len(train_part)))
    recipe = Recipe(
        epochs=int(epochs),
        batch_size=int(batch_size),
        learning_rate=float(learning_rate),
        weight_decay=float(weight_decay),
        device=where,
        seed=int(seed),
        progress=settings.progress if progress is None else bool(progress),
    )
    net = ExpressionMLP(
        data.var_names,
        data.classes if group is None else data.classes[1:],
        hidden=hidden,
        input_range=data.input_range,
        seed=int(seed),
    ).to(where)
    read = row_reader(data.rows, where, settings.memory_budget)
    epoch, validation_f1 = train(net, read, data.codes, (train_part, validation_part), recipe)
    held_out = merits(predict(net, read, test_part), data.codes[test_part])
    if "per_class" in held_out:
        held_out["per_class"] = dict(zip(data.classes, held_out["per_class"], strict=True))
    net.report = {
        **held_out,
        "n_train": len(train_part),
        "n_validation": len(validation_part),
        "n_test": len(test_part),
        "epoch": epoch,
        "epochs": recipe.epochs,
        "validation_f1": validation_f1,
        "test_obs_names": tuple(str(name) for name in data.obs_names[test_part]),
    }
    _log(net, groupby)
    return net.to("cpu").eval()


def _log(net: ExpressionMLP, groupby: str) -> None:
    report = net.report
    binary = len(net.output_names) == 1
    logger.info(
        "fit_mlp: obs[%r], %s: %d cells to train on, %d genes; epoch %d of %d kept; on %d "
        "held-out cells %sF1 %.3f, accuracy %.3f.",
        groupby,
        f"{net.output_names[0]!r} against the rest"
        if binary
        else f"{len(net.output_names)} classes",
        report["n_train"],
        len(net.feature_names),
        report["epoch"],
        report["epochs"],
        report["n_test"],
        "" if binary else "macro ",
        report["f1"],
        report["accuracy"],
    )


def _hidden_sizes(hidden: Sequence[int]) -> tuple[int, ...]:
    sizes = tuple(hidden) if isinstance(hidden, list | tuple | np.ndarray) else (hidden,)
    if not all(_is_whole(size) and size > 0 for size in sizes):
        msg = f"`hidden` must be positive integers, such as (250, 50), or (); got {hidden!r}."
        raise ValueError(msg)
    return tuple(int(size) for size in sizes)


def _check_numbers(
    epochs: int | None, batch_size: int, learning_rate: float, weight_decay: float, seed: int
) -> None:
    for name, value in (("epochs", epochs), ("batch_size", batch_size)):
        if value is not None and not (_is_whole(value) and value > 0):
            msg = f"`{name}` must be a positive integer; got {value!r}."
            raise ValueError(msg)
    if not learning_rate > 0:
        msg = f"`learning_rate` must be positive; got {learning_rate!r}."
        raise ValueError(msg)
    if not weight_decay >= 0:
        msg = f"`weight_decay` must be 0 or positive; got {weight_decay!r}."
        raise ValueError(msg)
    if not (_is_whole(seed) and 0 <= seed < 2**63):
        msg = f"`seed` must be an integer in [0, 2**63); got {seed!r}."
        raise ValueError(msg)


def _is_whole(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)
