"""Which columns of results go where."""

from __future__ import annotations

from typing import Any

import pytest

from sensx_sc.slots import COLUMNS, COVARIATES, GENES, GROUPS, WITHIN, Section, slot_names
from sensx_sc.tl._columns import pick_spots, refuse_kept_groups, storable

ASKED: dict[str, tuple[dict[str, Any], list[Any]]] = {
    "genes": ({}, [GENES]),
    "obsm": ({"obsm": "X_pca"}, [COLUMNS]),
    "sets": ({"groups": "set"}, [GROUPS]),
    "blocks": ({"blocks": True}, [GROUPS]),
    "genes of sets": ({"groups": "set", "within": "genes"}, [GROUPS, GENES]),
    "columns of sets": ({"obsm": "X", "groups": [0], "within": "features"}, [GROUPS, COLUMNS]),
    "finer": ({"groups": "set", "within": {"a": ["b"]}}, [GROUPS, WITHIN]),
    "covariates": ({"covariates": "age"}, [GENES, COVARIATES]),
    "among sets": ({"groups": "set", "covariates": "age"}, [GROUPS]),
}


@pytest.mark.parametrize(("asked", "spots"), ASKED.values(), ids=ASKED.keys())
def test_spots(asked: dict[str, Any], spots: list[Any]) -> None:
    base: dict[str, Any] = dict.fromkeys(("obsm", "groups", "within", "covariates"))
    assert pick_spots(**{**base, "blocks": False, **asked}) == spots


def test_names_of_slots() -> None:
    names = slot_names("k", ["value", "rank"], [GROUPS, GENES, COVARIATES])
    assert names["layers"] == ["k", "k_rank"]
    assert names["obsm"] == [
        "k_envelope", "k_groups", "k_groups_rank", "k_covariates", "k_covariates_rank",
    ]  # fmt: skip
    part = Section(GROUPS, 2, 5, ("a", "b", "c"))
    assert (part.columns, part.width) == (slice(2, 5), 3)


def test_what_is_refused() -> None:
    for spots in ([GROUPS], [GENES, COVARIATES]):
        with pytest.raises(ValueError, match="`keep` 'top:5' keeps the first genes of each cell"):
            refuse_kept_groups("top:5", spots)
        refuse_kept_groups("all", spots)
    refuse_kept_groups("top:5", [GENES])
    with pytest.raises(ValueError, match="two `groups` are named 'a-b'"):
        storable(["a/b", "a-b"])
