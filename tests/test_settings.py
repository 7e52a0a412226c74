"""Settings: defaults, checks, overriding."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import numpy as np
import pytest

import sensx_sc as sx
from sensx_sc.settings import Settings

DEFAULTS = {
    "device": "auto",
    "precision": "auto",
    "memory_budget": 2**30,
    "progress": True,
    "seed": 0,
}


def as_dict(settings: Settings) -> dict[str, Any]:
    return {name: getattr(settings, name) for name in DEFAULTS}


def test_defaults() -> None:
    assert as_dict(Settings()) == DEFAULTS


def test_the_attribute_is_the_instance_whatever_is_imported() -> None:
    """A module of the same name exists; importing it must not hide the settings."""
    assert isinstance(sx.settings, Settings)
    module = importlib.import_module("sensx_sc.settings")
    import sensx_sc.settings
    from sensx_sc.settings import settings as from_module

    assert isinstance(sx.settings, Settings)
    assert sensx_sc.settings is sx.settings is from_module is module.settings
    assert module is sys.modules["sensx_sc.settings"]


@pytest.mark.parametrize(
    ("name", "value", "stored"),
    [
        ("device", "cuda:1", "cuda:1"),
        ("device", "mps", "mps"),
        ("precision", "float64", "float64"),
        ("memory_budget", 4096, 4096),
        ("memory_budget", np.int64(4096), 4096),
        ("memory_budget", "2GiB", 2 * 2**30),
        ("memory_budget", "500 MB", 500_000_000),
        ("memory_budget", " 1.5 gib ", 3 * 2**29),
        ("memory_budget", "512", 512),
        ("memory_budget", "100 kB", 100_000),
        ("progress", False, False),
        ("seed", 2**64 - 1, 2**64 - 1),
        ("seed", np.uint32(7), 7),
    ],
)
def test_valid_values(name: str, value: object, stored: object) -> None:
    settings = Settings()
    setattr(settings, name, value)
    assert getattr(settings, name) == stored
    assert type(getattr(settings, name)) is type(stored)
    assert as_dict(settings) == DEFAULTS | {name: stored}


WRONG: list[tuple[str, object, type[Exception], str]] = [
    ("device", "gpu", ValueError, "device must be 'auto', 'cpu', 'mps', 'cuda'.* got 'gpu'"),
    ("device", "cuda:", ValueError, "got 'cuda:'"),
    ("device", 0, TypeError, "device must be a string .* got 0"),
    ("precision", "float16", ValueError, "auto, float32, float64, got 'float16'"),
    ("precision", np.float32, TypeError, "precision must be one of auto, float32, float64"),
    ("memory_budget", 0, ValueError, "positive number of bytes, got 0"),
    ("memory_budget", -5, ValueError, "positive number of bytes, got -5"),
    ("memory_budget", "0.1", ValueError, "at least one byte, got '0.1'"),
    ("memory_budget", "lots", ValueError, "for example '2GiB', got 'lots'"),
    ("memory_budget", "2 potatoes", ValueError, "for example '2GiB', got '2 potatoes'"),
    ("memory_budget", "", ValueError, "for example '2GiB', got ''"),
    ("memory_budget", "-2GiB", ValueError, "for example '2GiB', got '-2GiB'"),
    ("memory_budget", 1e9, TypeError, "memory_budget must be an integer or a string"),
    ("memory_budget", None, TypeError, "got None"),
    ("memory_budget", True, TypeError, "got True"),
    ("progress", 1, TypeError, "progress must be True or False, got 1"),
    ("progress", None, TypeError, "progress must be True or False, got None"),
    ("seed", -1, ValueError, r"seed must lie in \[0, 2\*\*64\), got -1"),
    ("seed", 2**64, ValueError, "seed must lie in"),
    ("seed", 1.0, TypeError, "seed must be an integer, got 1.0"),
    ("seed", "1", TypeError, "seed must be an integer, got '1'"),
    ("seed", None, TypeError, "seed must be an integer, got None"),
]


@pytest.mark.parametrize(("name", "value", "error", "sentence"), WRONG)
def test_wrong_values(name: str, value: object, error: type[Exception], sentence: str) -> None:
    settings = Settings()
    with pytest.raises(error, match=sentence):
        setattr(settings, name, value)
    with pytest.raises(error, match=sentence):
        Settings(**{name: value})  # type: ignore[arg-type]
    with pytest.raises(error, match=sentence), settings.override(**{name: value}):
        pytest.fail("the block must not be entered")
    assert as_dict(settings) == DEFAULTS


def test_unknown_names() -> None:
    settings = Settings()
    sentence = "'devcie'.* the settings are device, precision, memory_budget, progress, seed"
    with pytest.raises(AttributeError, match=sentence):
        settings.devcie = "cpu"  # type: ignore[attr-defined]
    with pytest.raises(TypeError, match=sentence), settings.override(devcie="cpu", seed=3):
        pytest.fail("the block must not be entered")
    assert as_dict(settings) == DEFAULTS


def test_override_restores() -> None:
    settings = Settings(seed=4)
    with settings.override(seed=5, memory_budget="1 MiB") as inside:
        assert inside is settings
        assert (settings.seed, settings.memory_budget) == (5, 2**20)
        settings.seed = 6
        settings.progress = False  # not overridden, so it stays
        with settings.override(seed=7):
            assert settings.seed == 7
        assert settings.seed == 6
    assert as_dict(settings) == DEFAULTS | {"seed": 4, "progress": False}


def test_override_restores_after_an_error() -> None:
    settings = Settings()
    with pytest.raises(KeyError), settings.override(device="cpu"):
        raise KeyError
    assert as_dict(settings) == DEFAULTS


def test_override_checks_all_before_it_changes_one() -> None:
    settings = Settings()
    with pytest.raises(ValueError, match="seed must lie"), settings.override(device="cpu", seed=-1):
        pytest.fail("the block must not be entered")
    assert as_dict(settings) == DEFAULTS


def test_reset() -> None:
    settings = Settings(device="cpu", precision="float32", memory_budget=1, progress=False, seed=1)
    settings.reset()
    assert as_dict(settings) == DEFAULTS
