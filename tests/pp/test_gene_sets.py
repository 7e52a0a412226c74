"""Gene sets from columns, GMT files and tables."""

from __future__ import annotations

import gzip
import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from sensx_sc.pp._gene_sets import (
    pick_groups,
    pick_within,
    present_sets,
    read_gmt,
    sets_of_table,
)

if TYPE_CHECKING:
    from pathlib import Path

GENES = ("g0", "g1", "g2", "g3")
SETS = {"one": ["g0", "g1"], "two": ["g1", "g3"]}
TEXT = "one\tnote\tg0\tg1\n\ntwo\thttp://x\tg1\tg3\t\n"


@pytest.mark.parametrize("packed", [False, True])
def test_gmt_files(tmp_path: Path, packed: bool) -> None:
    path = tmp_path / ("sets.gmt.gz" if packed else "sets.gmt")
    path.write_bytes(gzip.compress(TEXT.encode()) if packed else TEXT.encode())
    assert read_gmt(path) == SETS
    assert pick_groups(path, None, GENES) == SETS
    assert pick_groups(str(path), pd.DataFrame(index=GENES), GENES) == SETS


WRONG_FILES: dict[str, tuple[str, str]] = {
    "empty": ("\n", "'sets.gmt' holds no gene set"),
    "no genes": ("one\tnote\n", "line 1 of 'sets.gmt' has no name, note and genes"),
    "no name": ("one\tn\tg0\n\tn\tg1\n", "line 2 of 'sets.gmt' has no name, note and genes"),
    "spaces": ("one note g0 g1\n", "separated by tabs: 'one note g0 g1'"),
    "twice": ("one\tn\tg0\none\tn\tg1\n", "line 2 of 'sets.gmt' has a second set of that name"),
}


@pytest.mark.parametrize(("text", "words"), WRONG_FILES.values(), ids=WRONG_FILES.keys())
def test_files_that_are_none_of_sets(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "sets.gmt"
    path.write_text(text)
    with pytest.raises(ValueError, match=words):
        read_gmt(path)


@pytest.mark.parametrize(
    "pair", [("source", "target"), ("geneset", "genesymbol"), ("gs_name", "gene_symbol")]
)
def test_tables_of_networks(pair: tuple[str, str]) -> None:
    rows = [(name, gene) for name, genes in SETS.items() for gene in genes]
    table = pd.DataFrame(rows, columns=list(pair)).assign(weight=-1.0)
    assert sets_of_table(pd.concat([table, table])) == SETS
    assert pick_groups(table, None, GENES) == SETS


def test_genes_that_are_not_there_are_left_out_and_counted(caplog: Any) -> None:
    with caplog.at_level(logging.INFO, logger="sensx_sc"):
        found = present_sets({"a": ["g0", "x"], "b": ["y"], "c": ["g0"]}, GENES)
    assert found == {"a": ["g0"], "c": ["g0"]}
    assert "1 of 3 genes of 3 sets are among the features; left out for having none: b" in (
        caplog.text
    )
    with pytest.raises(ValueError, match=r"`groups`: no gene of any set \('x', ...\) is among"):
        present_sets({"a": ["x"]}, GENES)


def test_columns_and_what_is_no_column() -> None:
    table = pd.DataFrame({"set": ["a", None, "b", "a"], "x.gmt": list("abab")}, index=GENES)
    # A missing text is None or NaN, as the version of pandas has it.
    found = pd.Series(pick_groups("set", table, GENES))
    assert found.fillna("none").tolist() == ["a", "none", "b", "a"]
    assert pick_groups("x.gmt", table, GENES).tolist() == list("abab")  # a column goes first
    with pytest.raises(KeyError, match=r"`groups` 'sets' is not a column.*ends in \.gmt"):
        pick_groups("sets", table, GENES)
    with pytest.raises(KeyError, match="the columns are: none"):
        pick_groups("sets", None, GENES)
    with pytest.raises(FileNotFoundError, match="there is no file 'a/b.gmt'"):
        pick_groups("a/b.gmt", table, GENES)
    shuffled = table["set"].iloc[::-1]
    found = pd.Series(pick_groups(shuffled, table, GENES))
    assert found.fillna("none").tolist() == ["a", "none", "b", "a"]


def test_what_top_groups_are_taken_apart_into() -> None:
    assert pick_within(None, None, GENES) is None
    for word in ("genes", "features"):
        found = pick_within(word, None, GENES)
        assert found is not None
        assert found.names == GENES
        assert found.label.tolist() == [0, 1, 2, 3]
    finer = pick_within({"a": ["g0"], "b": ["g2", "g3"]}, None, GENES)
    assert finer is not None
    np.testing.assert_array_equal(finer.label, [0, -1, 1, 1])
    with pytest.raises(ValueError, match="every feature may be in one group only"):
        pick_within({"a": ["g0"], "b": ["g0"]}, None, GENES)
    with pytest.raises(KeyError, match="`within` 'set' is not a column"):
        pick_within("set", None, GENES)
