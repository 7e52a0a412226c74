"""The house itself: public names, lazy import, layers, what is shipped."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import re
import subprocess
import sys
from importlib import metadata, resources
from pathlib import Path

import pytest

import sensx_sc as sx

PACKAGE = Path(sx.__file__).parent
SOURCES = sorted(PACKAGE.rglob("*.py"))
ROOMS = [
    "companions", "core", "datasets", "evaluators", "get", "im", "metrics", "models", "nn", "pl",
    "pp", "tl",
]  # fmt: skip
HEAVY = {"anndata", "dask", "matplotlib", "pandas", "scanpy", "scipy", "sklearn", "torch", "xarray"}


def run(program: str) -> str:
    """Run a program in a fresh interpreter and return what it printed."""
    command = [sys.executable, "-c", program]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0]


def in_rooms(*rooms: str) -> list[Path]:
    return [path for path in SOURCES if room_of(path) in rooms]


def name_of(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


def modules_imported(path: Path, *, nested: bool = True) -> set[str]:
    """Return what a file imports when run, dotted (not what is under ``if TYPE_CHECKING``)."""
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for other in node.orelse:
                visit(other)
            return
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not nested:
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)} line {node.lineno}: relative import"
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(path.read_text(encoding="utf-8")))
    return found


def top_level(modules: set[str]) -> set[str]:
    return {module.split(".")[0] for module in modules}


# ---------------------------------------------------------------- public names and lazy import


def test_public_names_exist_and_are_listed() -> None:
    assert {*ROOMS, "settings", "__version__"} == set(sx.__all__)
    assert dir(sx) == sorted(sx.__all__)
    for name in sx.__all__:
        assert getattr(sx, name) is not None


def test_unknown_name_says_what_there_is() -> None:
    with pytest.raises(AttributeError, match=r"no attribute 'nonsense'; it has .*datasets.*tl"):
        _ = sx.nonsense


@pytest.mark.parametrize("room", ROOMS)
def test_names_of_a_room(room: str) -> None:
    """Whatever a room lists can be imported, is documented, and belongs to this package."""
    module = importlib.import_module(f"sensx_sc.{room}")
    assert len(module.__all__) == len(set(module.__all__)) > 0
    for name in module.__all__:
        thing = getattr(module, name)
        if inspect.isfunction(thing) or inspect.isclass(thing):
            assert thing.__module__.startswith(f"sensx_sc.{room}"), f"{room}.{name}"
            assert thing.__doc__, f"{room}.{name} has no docstring"


@pytest.mark.parametrize("room", ROOMS)
def test_each_room_can_be_imported_first(room: str) -> None:
    """No circular import: each room loads in a fresh interpreter, whichever comes first."""
    assert run(f"import sensx_sc.{room} as room; print(len(room.__all__) > 0)") == "True\n"


def test_version() -> None:
    if sx.__version__ == "0+unknown":
        pytest.skip("the package is not installed: its version is known to the installation")
    assert sx.__version__ == metadata.version("sensx_sc")


def test_import_is_light_and_takes_less_than_half_a_second() -> None:
    """CPU time of `import sensx_sc` beyond numpy; the issue asks for this figure in seconds."""
    program = (
        "import json, sys, time\n"
        "import numpy\n"
        "start = time.process_time()\n"
        "import sensx_sc\n"
        "dir(sensx_sc), sensx_sc.settings.seed, sensx_sc.__version__\n"
        "print(json.dumps([time.process_time() - start, sorted(sys.modules)]))\n"
    )
    seconds, modules = json.loads(run(program))
    assert not HEAVY & set(modules)
    assert not {name for name in modules if name.startswith("sensx_sc.")} - {
        "sensx_sc.settings",
        "sensx_sc.words",
    }
    assert seconds < 0.5


@pytest.mark.parametrize("room", ["companions", "core", "evaluators", "metrics", "models"])
def test_the_method_runs_without_the_doors(room: str) -> None:
    """The method, on arrays, loads neither AnnData nor any drawing library."""
    program = f"import sys, sensx_sc.{room}; print('\\n'.join(sys.modules))"
    loaded = set(run(program).split())
    assert not {"anndata", "dask", "matplotlib", "scanpy", "sklearn"} & loaded


# ---------------------------------------------------------------- layers, read from the source

DOORS = {"scale", "pp", "tl", "pl", "get", "im", "datasets"}
ABOVE = {
    "models": {"evaluators", "core", "companions", "metrics", *DOORS},
    "evaluators": {"core", "companions", "metrics", *DOORS},
    "core": {"companions", "metrics", *DOORS},
    "companions": {"metrics", *DOORS},
    "metrics": {"companions", *DOORS},
}


@pytest.mark.parametrize("path", in_rooms(*ABOVE), ids=name_of)
def test_layers_point_one_way(path: Path) -> None:
    """Models know no evaluator, evaluators no method, and none of them a door or AnnData."""
    modules = modules_imported(path)
    rooms = {m.split(".")[1] for m in modules if m.startswith("sensx_sc.")}
    assert not rooms & ABOVE[room_of(path)]
    assert not top_level(modules) & {"anndata", "dask", "matplotlib", "scanpy"}


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_optional_libraries_are_imported_where_they_are_used(path: Path) -> None:
    optional = {
        "captum", "celltypist", "distributed", "httpx", "lightgbm", "lightning", "onnxruntime",
        "scanpy", "scvi", "shap", "skimage", "sklearn", "spatialdata", "tenacity", "tifffile",
        "timm", "transformers", "xgboost",
    }  # fmt: skip
    assert not top_level(modules_imported(path, nested=False)) & optional


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_nothing_pickles(path: Path) -> None:
    """No pickle is read or written, nor by way of numpy and torch; its error may be caught."""
    pickling = {"cloudpickle", "dill", "joblib", "marshal", "pickle", "shelve"}
    assert not top_level(modules_imported(path) - {"pickle.UnpicklingError"}) & pickling
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            keywords = {kw.arg: ast.unparse(kw.value) for kw in node.keywords}
            assert keywords.get("allow_pickle", "False") == "False"
            if ast.unparse(node.func) == "torch.load":
                assert keywords.get("weights_only") == "True"


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_files_stay_readable(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400
    assert path.stem.strip("_") not in {"utils", "helpers", "common", "manager", "misc"}


# ---------------------------------------------------------------- what is shipped


def test_the_installed_copy_is_the_one_tested() -> None:
    """Where the package is installed, the tests must not import the checkout beside them."""
    try:
        distribution = metadata.distribution("sensx_sc")
    except metadata.PackageNotFoundError:
        pytest.skip("the package is not installed: the source tree is tested")
    origin = json.loads(distribution.read_text("direct_url.json") or "{}")
    if origin.get("dir_info", {}).get("editable"):
        pytest.skip("an editable installation is the source tree")
    assert Path(str(distribution.locate_file("sensx_sc"))).resolve() == PACKAGE.resolve()


def test_type_marker_and_data_are_shipped() -> None:
    assert resources.files("sensx_sc").joinpath("py.typed").is_file()
    data = resources.files("sensx_sc.datasets").joinpath("data")
    names = {entry.name for entry in data.iterdir()}
    assert any(name.lower().startswith("readme") for name in names), "data without its source"
    assert len(names) > 1


def test_every_public_name_has_a_page() -> None:
    """The documentation's list of functions is complete and names nothing that is not there."""
    text = (Path(__file__).parents[1] / "docs" / "api.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^   ([a-z]+(?:\.\w+)+)$", text, flags=re.MULTILINE))
    public = set()
    for room in ROOMS:
        module = importlib.import_module(f"sensx_sc.{room}")
        for name in module.__all__:
            inside = getattr(module, name)
            members = inside.__all__ if inspect.ismodule(inside) else [""]
            public |= {f"{room}.{name}.{member}".rstrip(".") for member in members}
    assert listed == public | {"settings.Settings"}
