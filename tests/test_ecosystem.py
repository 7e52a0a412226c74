"""What others read of the project by machine: citation, listing, issue forms, import contracts."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def read(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def test_the_citation_is_of_this_version() -> None:
    told = read("CITATION.cff")
    assert told["version"] == PROJECT["project"]["version"]
    assert told["license"] == PROJECT["project"]["license"]
    assert [a["family-names"] for a in told["preferred-citation"]["authors"]] == [
        "Aggarwal", "Cogan", "Periwal",
    ]  # fmt: skip


def test_the_listing_has_what_it_must_have() -> None:
    told = read(".github/ecosystem/meta.yaml")
    required = {
        "name", "description", "project_home", "documentation_home", "license", "primary_category",
        "tags", "language", "category", "install", "version", "contact",
    }  # fmt: skip
    assert required <= set(told)
    assert told["version"] == PROJECT["project"]["version"]
    assert told["license"] == PROJECT["project"]["license"]
    assert told["install"]["pypi"] == PROJECT["project"]["name"]
    assert 1 <= len(told["tags"]) <= 10
    assert told["test_command"] in (ROOT / "README.md").read_text(encoding="utf-8").replace(
        ".venv/bin/", ""
    ).replace(" -q", "")


@pytest.mark.parametrize("name", ["wrong", "model", "idea"])
def test_issue_forms_ask_something(name: str) -> None:
    form = read(f".github/ISSUE_TEMPLATE/{name}.yml")
    assert {"name", "description", "body"} <= set(form)
    kinds = {"textarea", "input", "checkboxes", "dropdown", "markdown"}
    assert all(part["type"] in kinds and part["attributes"]["label"] for part in form["body"])
    asked = [part for part in form["body"] if part.get("validations", {}).get("required")]
    assert asked
    ids = [part["id"] for part in form["body"]]
    assert len(set(ids)) == len(ids)


def test_every_room_is_in_the_import_contract() -> None:
    """So that a new room is placed by whoever adds it; `lint-imports` checks the rest."""
    layers = PROJECT["tool"]["importlinter"]["contracts"][0]["layers"]
    named = {name.strip() for layer in layers for name in layer.split("|")}
    package = ROOT / "sensx_sc"
    rooms = {path.parent.name for path in package.glob("*/__init__.py")}
    files = {path.stem for path in package.glob("*.py")} - {"__init__", "__main__"}
    assert named == rooms | files
    assert "lint-imports" in (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
