"""Figures of benchmarks in a CSV, which docs/benchmarks.md reads: a row for each figure."""

from __future__ import annotations

import csv
import datetime as dt
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from cases import Row

COLUMNS = ("benchmark", "what", "value", "date")


def read(path: Path) -> list[dict[str, str]]:
    """Rows of the file; none if there is no file."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def keep(path: Path, benchmark: str, rows: list[Row], date: str | None = None) -> None:
    """Write a benchmark's rows in the place of its older ones; those of others stay as they are."""
    today = date or dt.datetime.now(dt.UTC).date().isoformat()
    new = [dict(zip(COLUMNS, (benchmark, what, value, today), strict=True)) for what, value in rows]
    old = read(path)
    places = [i for i, row in enumerate(old) if row["benchmark"] == benchmark]
    first = places[0] if places else len(old)
    others = [(i, row) for i, row in enumerate(old) if row["benchmark"] != benchmark]
    kept = [row for i, row in others if i < first] + new + [row for i, row in others if i > first]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(kept)
