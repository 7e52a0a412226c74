"""``sensx-sc explain``: the cells of a file, into a store, by one process or a job array."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse

_TEXT = (
    ("target", "class or output to explain, or a column of obs with a class a cell"),
    ("layer", "explain this layer instead of X"),
    ("obsm", "explain this array of obsm instead of X"),
    ("mask-obs", "column of obs: cells to explain"),
    ("mask-var", "column of var: genes to perturb"),
    ("lower", "lower bounds: a number, a column of var, or log1p_cp10k"),
    ("upper", "upper bounds, likewise"),
    ("qoi", "auto, probability, logit or value"),
    ("deltas", "auto, linear, or scales such as 0.05,0.1,0.5"),
    ("design", "balanced, uniform or sobol"),
    ("rank-by", "value, change, mean or shapley"),
    ("estimator", "walks, gradient or auto"),
    ("keep", "all, or top:500 for the first 500 genes of each cell"),
    ("out-of-domain", "raise, clip or expand"),
    ("precision", "auto, float32 or float64"),
    ("device", "auto, cpu, cuda, cuda:1, mps"),
    ("key-added", "prefix of what is written (sensx)"),
    ("on-error", "mark cells on which the model fails, or raise"),
    ("shard", "i/n: the i-th of n jobs that share the store"),
)
_NUMBERS = (
    ("tau", float, "change of the response that counts as none (0.1)"),
    ("n-samples", int, "random points a scale (1000)"),
    ("n-walks", int, "walks a cell (200)"),
    ("top-k", int, "race for so many genes"),
    ("batch-size", int, "rows of one model call"),
    ("chunk-size", int, "cells a block"),
    ("seed", int, "seed (0)"),
)


def add_explain(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command's words."""
    parser = commands.add_parser(
        "explain",
        help="explain the cells of a file, into a zarr store; goes on where it was stopped",
    )
    parser.add_argument("data", type=Path, help="data.h5ad or data.zarr; read a block at a time")
    parser.add_argument(
        "--model",
        required=True,
        help="model.onnx, model.pt2 or weights.safetensors+package.module:factory",
    )
    parser.add_argument(
        "--store",
        required=True,
        type=Path,
        help="an AnnData in a zarr store that gets the results: new, or data.zarr itself",
    )
    for name, text in _TEXT:
        parser.add_argument(f"--{name}", help=text)
    for name, kind, text in _NUMBERS:
        parser.add_argument(f"--{name}", type=kind, help=text)
    parser.add_argument("--statistics", help="what to keep, such as value,rank,change,mean")
    parser.add_argument("--outputs", help="what the model's outputs are: logit, probability, value")
    parser.add_argument("--classes", help="names of the outputs: A,B,C or a file, one a line")
    parser.add_argument("--features", type=Path, help="file with the model's genes, one a line")
    parser.add_argument("--workers", type=int, help="Dask workers on this machine, one thread each")
    parser.add_argument("--scheduler", help="address or file of a Dask scheduler to use")
    parser.add_argument("--memory", help="memory budget, such as 2GiB")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    parser.add_argument("--traceback", action="store_true", help="show where an error came from")
    parser.set_defaults(run=explain)


def explain(options: argparse.Namespace) -> int:
    """Explain the cells of a file."""
    import contextlib

    import sensx_sc as sx

    adata = read_data(options.data)
    given = {name.replace("-", "_") for name, *_ in (*_TEXT, *_NUMBERS)}
    how = {name: getattr(options, name) for name in given}
    how = {name: value for name, value in how.items() if value is not None}
    for name in ("lower", "upper"):
        with contextlib.suppress(KeyError, ValueError):
            how[name] = float(how[name])
    if "deltas" in how and how["deltas"] not in ("auto", "linear"):
        how["deltas"] = [float(delta) for delta in how["deltas"].split(",")]
    if options.statistics:
        how["statistics"] = options.statistics.split(",")
    if options.memory:
        sx.settings.memory_budget = options.memory
    model = sx.models.as_model(
        options.model,
        outputs=options.outputs,
        output_names=_names(options.classes),
        feature_names=None if options.features is None else _lines(options.features),
        device=how.get("device", "auto"),
    )
    with _workers(options):
        sx.tl.sensx(
            adata, model, store=options.store, progress=False if options.quiet else None, **how
        )
    return 0


def read_data(path: Path) -> Any:
    """An AnnData that stays on disk.

    Raises
    ------
    FileNotFoundError
        Nothing is there.
    ValueError
        No h5ad file and no AnnData in a zarr store.
    """
    import anndata

    from sensx_sc.scale.anndata_zarr import is_anndata, quiet

    if not path.exists():
        msg = f"there is no {str(path)!r}."
        raise FileNotFoundError(msg)
    if path.is_file() and path.suffix == ".h5ad":
        return anndata.read_h5ad(path, backed="r")
    if path.is_dir() and is_anndata(path):
        with quiet():
            return anndata.experimental.read_lazy(path)
    msg = f"{str(path)!r} must be an h5ad file or an AnnData in a zarr store."
    raise ValueError(msg)


def _names(text: str | None) -> list[str] | None:
    """Names in a file, one a line, or separated by commas."""
    if text is None:
        return None
    return _lines(Path(text)) if Path(text).is_file() else text.split(",")


def _lines(path: Path) -> list[str]:
    return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def _workers(options: argparse.Namespace) -> Any:
    """The Dask client that is asked for, as a context."""
    import contextlib

    if not options.workers and not options.scheduler:
        return contextlib.nullcontext()
    try:
        from distributed import Client
    except ImportError as error:
        msg = "--workers and --scheduler need Dask: pip install 'sensx_sc[distributed]'."
        raise ImportError(msg) from error
    if options.scheduler:
        file = options.scheduler.endswith(".json")
        return Client(**{"scheduler_file" if file else "address": options.scheduler})
    from sensx_sc.scale.cluster import local_client

    return local_client(options.workers)
