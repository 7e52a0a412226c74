"""Models in files: archives of torch.export, weights beside a module. No pickle is read."""

from __future__ import annotations

import importlib
import io
import json
import sys
import warnings
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from sensx_sc.models.described import Described, read_description

if TYPE_CHECKING:
    from os import PathLike

FORMS = "'model.onnx', 'model.pt2' or 'weights.safetensors+package.module:factory'"
_EXTRA = "sensx.json"


def split_path(model: str | PathLike[str]) -> tuple[Path, str]:
    """The file of a model, and the factory of its module: empty for other forms.

    Raises
    ------
    ValueError
        No form that is known.
    FileNotFoundError
        No such file.
    """
    text = str(model)
    name, plus, factory = text.partition(".safetensors+")
    path = Path(f"{name}.safetensors" if plus else text).expanduser()
    if not plus and path.suffix == ".safetensors":
        msg = (
            f"`model` {text!r} holds weights only: name a callable that makes their module, "
            f"'{path.name}+package.module:factory'."
        )
        raise ValueError(msg)
    if path.suffix not in (".onnx", ".pt2", ".safetensors"):
        msg = (
            f"`model` {text!r} must be {FORMS}; pickled models are never read. Load one that you "
            "trust with its own library, and pass the object."
        )
        raise ValueError(msg)
    if not path.is_file():
        msg = f"`model`: there is no file {str(path)!r}."
        raise FileNotFoundError(msg)
    return path, factory


def load_weights(path: Path, factory: str) -> tuple[nn.Module, Described]:
    """A module made by a callable, with the weights of a safetensors file, in eval mode.

    Parameters
    ----------
    factory
        ``package.module:callable``; modules in the working folder are found.

    Raises
    ------
    ValueError
        No such callable, or weights that are not those of its module.
    """
    try:
        from safetensors import safe_open
    except ImportError as error:
        msg = "safetensors files need the library: pip install 'sensx_sc[cli]'."
        raise ImportError(msg) from error
    module = _made(factory)
    with safe_open(path, framework="pt") as file:
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        described = read_description(file.metadata())
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:
        msg = f"{path.name} does not hold the weights of what {factory!r} makes: {error}"
        raise ValueError(msg) from error
    return module.eval(), described


def _made(factory: str) -> nn.Module:
    where, colon, name = factory.partition(":")
    if not (where and colon and name):
        msg = f"the factory must be 'package.module:callable'; got {factory!r}."
        raise ValueError(msg)
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        make = getattr(importlib.import_module(where), name)
    except (ImportError, AttributeError) as error:
        msg = f"the factory {factory!r} cannot be imported: {error}."
        raise ValueError(msg) from error
    module = make()
    if not isinstance(module, nn.Module):
        msg = f"the factory {factory!r} must make a torch.nn.Module; got {type(module).__name__}."
        raise TypeError(msg)
    return module


def load_exported(path: Path) -> tuple[nn.Module, Described, int | None]:
    """The module of an archive of ``torch.export``, and the number of rows it is bound to, if any.

    Raises
    ------
    ValueError
        Not such an archive, one of an older torch, or one with pickled parts.
    """
    import torch

    _refuse_pickles(path)
    extra = {_EXTRA: ""}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what torch tells of its own parts
        program = torch.export.load(path, extra_files=extra)
        module = _sent_as(path.read_bytes(), program.module())
    inputs = program.graph_signature.user_inputs
    shapes = {node.name: node.meta["val"].shape for node in program.graph.nodes
              if node.op == "placeholder"}  # fmt: skip
    if len(inputs) != 1 or len(shapes[inputs[0]]) != 2:
        msg = f"{path.name} must take one tensor of rows (B, n); it takes {len(inputs)} inputs."
        raise ValueError(msg)
    rows = shapes[inputs[0]][0]
    told = read_description(json.loads(extra[_EXTRA])) if extra[_EXTRA] else Described()
    return module, told, rows if isinstance(rows, int) else None


def _sent_as(archive: bytes, module: nn.Module) -> nn.Module:
    """A module that goes to other processes as the archive it is from: its graph cannot."""
    own: Any = type(module)  # a graph has a class of its own
    own.__reduce__ = lambda _: (_from_archive, (archive,))
    return module


def _from_archive(archive: bytes) -> nn.Module:
    """The module of an archive that has been checked."""
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _sent_as(archive, torch.export.load(io.BytesIO(archive)).module())


def _refuse_pickles(path: Path) -> None:
    """Refuse an archive of which torch would unpickle anything but tensors."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            configs = [json.loads(archive.read(n)) for n in names if n.endswith("_config.json")]
    except (zipfile.BadZipFile, ValueError) as error:
        msg = f"{path.name} is no archive of torch.export: {error}."
        raise ValueError(msg) from error
    if len(configs) < 2:
        msg = (
            f"{path.name} is no archive that torch.export.save of torch 2.8 or newer has written: "
            "save it again."
        )
        raise ValueError(msg)
    pickled = [
        name
        for config in configs
        for name, entry in config.get("config", {}).items()
        if entry.get("use_pickle")
    ]
    if pickled:
        msg = f"{path.name} has pickled parts, which are never read: {', '.join(pickled[:5])}."
        raise ValueError(msg)
