"""SCANVI and SCVI of scvi-tools: an encoder of counts, and the classifier on its latent space."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from sensx_sc.models.devices import find_device, that_holds
from sensx_sc.models.held import Covariate, continuous, one_hot
from sensx_sc.models.model import as_names

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from numpy.typing import NDArray
    from torch import Tensor

    from sensx_sc.models.model import OutputKind

    Floats = NDArray[np.float64]

ScviInput = Literal["counts", "log_counts", "log1p_cp10k"]


class Scvi:
    """A trained SCANVI (its classes or latent space) or SCVI (its latent space) of scvi-tools.

    As in scvi-tools' own ``predict`` and ``get_latent_representation``, the mean of a cell's
    posterior is classified or returned; nothing is sampled. What the encoder reads beside counts
    (batch, covariates; only with ``encode_covariates=True``) follows the genes in a row, one
    column a category, and is held at each cell's value: :func:`sensx_sc.tl.sensx` takes it from
    ``adata.obs`` under the names that the model was set up with. The library size does not enter
    the encoder; the counts of other genes stay as they are when one gene's change.

    Parameters
    ----------
    model
        A ``scvi.model.SCANVI`` or ``scvi.model.SCVI``.
    reads
        What a row holds, and so what is explained: ``"counts"`` as the model was trained on (name
        the ``layer``), ``"log_counts"``, their log1p, or ``"log1p_cp10k"``, log1p of counts scaled
        to 10,000 a cell, which are scaled back by each cell's ``library``.
    latent
        The latent space of a SCANVI, too: for distances in it, or a classifier of yours behind it
        (:class:`Chain`).
    library
        Column of ``adata.obs`` with the total counts of a cell, for ``"log1p_cp10k"``; held too.
    output_names
        Other names for the classes or latent dimensions.
    device
        Where it runs; ``"auto"``: where it is, or on a GPU if there is one.

    Raises
    ------
    TypeError
        Neither SCANVI nor SCVI.
    ValueError
        Not trained, an unknown ``reads``, a ``library`` too many or missing, or a model whose
        encoder is none of those that are known here.

    Examples
    --------
    >>> import sensx_sc as sx
    >>> scanvi = scvi.model.SCANVI.load("model/", adata)  # doctest: +SKIP
    >>> model = sx.models.Scvi(scanvi, reads="counts")  # doctest: +SKIP
    >>> sx.tl.sensx(adata, model, layer="counts")  # doctest: +SKIP
    """

    def __init__(
        self,
        model: Any,
        *,
        reads: ScviInput = "counts",
        latent: bool = False,
        library: str | None = None,
        output_names: Sequence[object] | None = None,
        device: str | torch.device = "auto",
    ) -> None:
        _check(model, reads, library, latent=latent)
        self.source = model
        self.name = type(model).__name__
        self.reads = reads
        genes = as_names(_field(model, "X")["column_names"]) or ()
        module = model.module
        encoded = _encoded(model) if module.encode_covariates else []
        held = [*encoded, *([continuous(library)] if library is not None else [])]
        self._held = held
        self.held_names = tuple(name for covariate in held for name in covariate.names)
        self.feature_names = (*genes, *self.held_names)
        classifies = hasattr(module, "classifier") and not latent
        logits = classifies and module.classifier.logits
        self.kind: OutputKind = "logit" if logits else "probability" if classifies else "value"
        own = (
            model._label_mapping[: module.n_labels]
            if classifies
            else [f"latent {k}" for k in range(module.n_latent)]
        )
        self.output_names = as_names(own if output_names is None else output_names)
        self.input_range: tuple[float, float] | None = None
        self.dtypes: tuple[torch.dtype, ...] = (torch.float32, torch.float64)
        self._device = find_device(device, next(module.parameters()).device)
        sizes = [len(covariate.names) for covariate in encoded if covariate.categories is not None]
        classifier = module.classifier if classifies else None
        self._encoder = _Encoded(module, classifier, len(genes), len(self.held_names), sizes, reads)
        self._copies: dict[torch.dtype, nn.Module] = {}

    def device(self, dtype: torch.dtype) -> torch.device:
        return that_holds(dtype, self._device)

    def outputs(self, rows: Tensor) -> Tensor:
        returned: Tensor = self.module(rows.dtype)(rows)
        return returned

    def module(self, dtype: torch.dtype) -> nn.Module:
        """Encoder and classifier, as a module of rows."""
        if dtype not in self._copies:
            clone = copy.deepcopy(self._encoder).to(device=self.device(dtype), dtype=dtype)
            self._copies[dtype] = clone.eval().requires_grad_(requires_grad=False)
        return self._copies[dtype]

    def held_values(self, obs: pd.DataFrame) -> Floats:
        """The columns behind the genes, (n_obs, len(held_names)), from ``adata.obs``.

        Raises
        ------
        KeyError
            A column that the model was set up with is not there.
        ValueError
            A category that the model has not seen, or a value that is missing.
        """
        columns = [covariate.columns(obs, self.name) for covariate in self._held]
        return np.concatenate([np.empty((len(obs), 0)), *columns], axis=1)

    def check_rows(self, rows: Floats) -> None:
        genes = rows[:, : rows.shape[1] - len(self.held_names)]
        whole = np.array_equal(genes, np.rint(genes))
        if genes.min() < 0 or (self.reads == "counts" and not whole):
            found = f"values from {genes.min():.4g} to {genes.max():.4g}"
            msg = (
                f"{self.name} with reads={self.reads!r} expects "
                f"{_EXPECTED[self.reads]}; got {found}{'' if whole else ', not whole numbers'}. "
                "Name the `layer` that holds them, or say what the rows are: "
                "sx.models.Scvi(model, reads='counts', 'log_counts' or 'log1p_cp10k')."
            )
            raise ValueError(msg)
        if self.reads != "counts" and whole and genes.max() > _LARGEST_LOG:
            msg = (
                f"{self.name} with reads={self.reads!r} expects {_EXPECTED[self.reads]}; got whole "
                f"numbers up to {genes.max():.4g}: are these counts? Pass reads='counts'."
            )
            raise ValueError(msg)


_LARGEST_LOG = 25.0
_EXPECTED = {
    "counts": "counts, as it was trained on",
    "log_counts": "log1p of counts",
    "log1p_cp10k": "log1p of counts scaled to 10,000 a cell",
}


def is_scvi(model: object) -> bool:
    """Whether an object is a SCANVI or SCVI of scvi-tools."""
    kind = type(model)
    return kind.__module__.partition(".")[0] == "scvi" and kind.__name__ in ("SCANVI", "SCVI")


def _check(model: Any, reads: str, library: str | None, *, latent: bool) -> None:
    if not is_scvi(model):
        msg = f"`model` must be a SCANVI or SCVI of scvi-tools; got {type(model).__name__}."
        raise TypeError(msg)
    if reads not in get_args(ScviInput):
        msg = f"`reads` must be one of {get_args(ScviInput)}; got {reads!r}."
        raise ValueError(msg)
    if (library is not None) != (reads == "log1p_cp10k"):
        msg = (
            "`library` names the column of adata.obs with each cell's total counts, which "
            f"reads='log1p_cp10k' needs and nothing else; got library={library!r} with "
            f"reads={reads!r}."
        )
        raise ValueError(msg)
    if not model.is_trained:
        msg = f"the {type(model).__name__} is not trained: call its train() first."
        raise ValueError(msg)
    module = model.module
    grouped = getattr(module, "use_labels_groups", False)
    embedded = module.encode_covariates and module.batch_representation != "one-hot"
    classifies = hasattr(module, "classifier") and not latent
    sampled = not classifies and module.latent_distribution != "normal"
    for found, what in (
        (grouped, "groups of labels"),
        (embedded, "batch embeddings in the encoder"),
        (sampled, "a latent space whose mean is sampled"),
    ):
        if found:
            msg = f"a {type(model).__name__} with {what} is not known here; pass a function."
            raise ValueError(msg)


def _field(model: Any, name: str) -> dict[str, Any]:
    fields = model.adata_manager.registry["field_registries"]
    return dict(fields.get(name, {}).get("state_registry", {}))


def _encoded(model: Any) -> list[Covariate]:
    """What the encoder reads beside genes, in its order: numbers, batch, categories."""
    of_numbers = _field(model, "extra_continuous_covs").get("columns", [])
    numbers = [continuous(str(name)) for name in of_numbers]
    batch = _field(model, "batch")
    found = [one_hot(batch["original_key"], batch["categorical_mapping"])]
    for key, names in _field(model, "extra_categorical_covs").get("mappings", {}).items():
        found.append(one_hot(key, names))
    # A covariate with one category is not read.
    return [*numbers, *(covariate for covariate in found if len(covariate.names) > 1)]


class _Encoded(nn.Module):
    """Genes and covariates -> latent mean -> classes, without scvi-tools' own bookkeeping."""

    again: Tensor

    def __init__(
        self,
        module: Any,
        classifier: Any,
        n_genes: int,
        n_held: int,
        sizes: list[int],
        reads: ScviInput,
    ) -> None:
        super().__init__()
        self.n_genes, self.reads, self.any_category = n_genes, reads, bool(sizes)
        self.n_numbers = n_held - sum(sizes) - (reads == "log1p_cp10k")
        # Deeper layers read the categories by a product with ones, so that all that reads the
        # input is affine.
        first = n_genes + self.n_numbers
        eye = np.eye(n_genes + n_held)[first : first + sum(sizes)]
        self.register_buffer("again", torch.as_tensor(eye, dtype=torch.float32))
        self.log_variational = bool(module.log_variational)
        self.layers = module.z_encoder.encoder.fc_layers
        self.injected = [
            bool(module.z_encoder.encoder.inject_into_layer(i)) for i in range(len(self.layers))
        ]
        tail = [] if classifier is None else _flat(classifier.classifier)
        self.head = nn.Sequential(module.z_encoder.mean_encoder, *tail)

    def forward(self, rows: Tensor) -> Tensor:
        genes, held = rows[:, : self.n_genes], rows[:, self.n_genes :]
        if self.reads == "log1p_cp10k":
            genes = torch.expm1(genes) * (held[:, -1:] / 1e4)
            held = held[:, :-1]
            h = torch.log1p(genes) if self.log_variational else genes
        elif self.reads == "counts":
            h = torch.log1p(genes) if self.log_variational else genes
        else:
            h = genes if self.log_variational else torch.expm1(genes)
        h = torch.cat([h, held], dim=1) if held.shape[1] else h
        for depth, (parts, injected) in enumerate(zip(self.layers, self.injected, strict=True)):
            if depth and injected and self.any_category:
                h = torch.cat([h, functional.linear(rows, self.again)], dim=1)
            for part in parts:
                h = h if part is None else part(h)
        answer: Tensor = self.head(h)
        return answer


def _flat(classifier: nn.Sequential) -> list[nn.Module]:
    """The layers of a classifier, in which FCLayers are lists of layers that may be None."""
    blocks = [getattr(part, "fc_layers", [[part]]) for part in classifier]
    return [layer for block in blocks for parts in block for layer in parts if layer is not None]
