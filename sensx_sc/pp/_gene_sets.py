"""Sets of genes: from columns, files and tables to what the method takes."""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from sensx_sc.core.groups import Groups, make_groups
from sensx_sc.logger import logger
from sensx_sc.pp._selection import aligned, column_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

COLUMNS = (("source", "target"), ("geneset", "genesymbol"), ("gs_name", "gene_symbol"))
"""Columns of tables of sets: a network as decoupler has it, and exports of MSigDB."""
_GMT = (".gmt", ".gmt.gz")


def pick_groups(
    groups: Any,
    table: pd.DataFrame | None,
    names: Sequence[str] | pd.Index[Any],
    argument: str = "groups",
) -> Any:
    """Groups of features as the method takes them.

    Parameters
    ----------
    groups
        Name of a column of ``table``, path of a GMT file, table of a network, or anything that
        :func:`sensx_sc.core.make_groups` takes.
    table
        The table of the features, if they have one.
    names
        Their names.

    Raises
    ------
    KeyError
        No such column.
    FileNotFoundError
        No such file.
    ValueError
        A file or a table that is none of sets, or has no set of these features.
    """
    if isinstance(groups, pd.DataFrame):
        return present_sets(sets_of_table(groups, argument), names, argument)
    if isinstance(groups, os.PathLike) or (
        isinstance(groups, str) and groups.endswith(_GMT) and not _has(table, groups)
    ):
        return present_sets(read_gmt(groups), names, argument)
    if not isinstance(groups, str):
        return aligned(groups, names, argument)
    if table is None or groups not in table:
        there = "none" if table is None else ", ".join(map(repr, table.columns)) or "none"
        msg = (
            f"`{argument}` {groups!r} is not a column; the columns are: {there}. A file of gene "
            "sets ends in .gmt."
        )
        raise KeyError(msg)
    return column_of(table, groups).astype(object).to_numpy()


def _has(table: pd.DataFrame | None, name: str) -> bool:
    return table is not None and name in table


def pick_within(
    within: Any, table: pd.DataFrame | None, names: Sequence[str] | pd.Index[Any]
) -> Groups | None:
    """What the top groups are taken apart into: ``"genes"``, or finer groups.

    Raises
    ------
    ValueError, TypeError, KeyError
        As :func:`pick_groups`, and sets that overlap.
    """
    if within is None:
        return None
    if isinstance(within, str) and within in ("genes", "features"):
        return Groups(tuple(map(str, names)), make_groups(range(len(names)), len(names)).label)
    found = pick_groups(within, table, names, "within")
    return make_groups(found, len(names), names=tuple(map(str, names)))


def read_gmt(path: str | os.PathLike[str]) -> dict[str, list[str]]:
    r"""Gene sets of a GMT file, plain or gzipped: a line a set, its name, a note, its genes.

    Raises
    ------
    FileNotFoundError
        No such file.
    ValueError
        A line with less than a name, a note and a gene, or a name twice.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from sensx_sc.pp._gene_sets import read_gmt
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "sets.gmt")
    ...     _ = path.write_text("B\tmine\tCD79A\tMS4A1\n")
    ...     read_gmt(path)
    {'B': ['CD79A', 'MS4A1']}
    """
    path = Path(path)
    if not path.is_file():
        msg = f"`groups`: there is no file {str(path)!r}."
        raise FileNotFoundError(msg)
    content = path.read_bytes()
    text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode("utf-8")
    found: dict[str, list[str]] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        name, *rest = (field.strip() for field in line.split("\t"))
        genes = [gene for gene in rest[1:] if gene]
        if not name or not genes or name in found:
            why = "a second set of that name" if name in found else "no name, note and genes"
            msg = f"line {number} of {path.name!r} has {why}, separated by tabs: {line[:60]!r}."
            raise ValueError(msg)
        found[name] = genes
    if not found:
        msg = f"{path.name!r} holds no gene set."
        raise ValueError(msg)
    return found


def sets_of_table(table: pd.DataFrame, argument: str = "groups") -> dict[str, list[str]]:
    """Gene sets of a long table, a row a set and gene; other columns (weights) are not used.

    Raises
    ------
    ValueError
        None of the pairs of columns that are known, or missing names.
    """
    pair = next((pair for pair in COLUMNS if set(pair) <= set(table.columns)), None)
    if pair is None:
        known = " or ".join(f"{a!r} and {b!r}" for a, b in COLUMNS)
        msg = (
            f"a table as `{argument}` needs the columns {known}; it has "
            f"{', '.join(map(repr, table.columns)) or 'none'}."
        )
        raise ValueError(msg)
    if table[list(pair)].isna().any().any():
        msg = f"`{argument}`: the columns {pair[0]!r} and {pair[1]!r} must have no missing names."
        raise ValueError(msg)
    source, target = (table[name].astype(str) for name in pair)
    found = target.groupby(source, sort=False).agg(lambda genes: list(dict.fromkeys(genes)))
    return {str(name): genes for name, genes in found.items()}


def present_sets(
    sets: Mapping[str, list[str]], names: Iterable[object], argument: str = "groups"
) -> dict[str, list[str]]:
    """The sets without features that are not there, and without sets of which nothing is left.

    Raises
    ------
    ValueError
        Nothing is left at all.
    """
    there = set(map(str, names))
    kept = {name: [gene for gene in genes if gene in there] for name, genes in sets.items()}
    left = {name: genes for name, genes in kept.items() if genes}
    if not left:
        first = ", ".join(repr(gene) for genes in list(sets.values())[:1] for gene in genes[:3])
        some = ", ".join(repr(name) for name in sorted(there)[:3])
        msg = (
            f"`{argument}`: no gene of any set ({first}, ...) is among the features ({some}, ...)."
        )
        raise ValueError(msg)
    n_all, n_left = (
        len({gene for genes in part.values() for gene in genes}) for part in (sets, left)
    )
    gone = [name for name in sets if name not in left]
    if n_left < n_all or gone:
        logger.info(
            "groups: %d of %d genes of %d sets are among the features%s.",
            n_left,
            n_all,
            len(sets),
            f"; left out for having none: {', '.join(gone[:5])}" if gone else "",
        )
    return left
