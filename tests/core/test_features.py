"""Domain, kinds and groups, settled together."""

from __future__ import annotations

import numpy as np
import pytest

from sensx_sc.core.features import settle_features, settle_finer


def test_one_hot_blocks_are_groups_and_the_others_alone() -> None:
    domain, sets = settle_features(5, 0, [1, 0.2, 0.7, 1, 4], blocks={"b": [1, 2]},
                                   kinds={4: "count"}, names=tuple("vwxyz"))  # fmt: skip
    assert sets is None
    assert domain.groups is not None
    assert domain.groups.names == ("v", "b", "y", "z")
    assert domain.groups.label.tolist() == [0, 1, 1, 2, 3]
    assert domain.upper.tolist() == [1, 1, 1, 1, 4]  # every category may be switched to
    assert domain.sizes.tolist() == [1, 2, 1, 1]
    assert domain.moving.tolist() == [1, 1, 1, 1]
    assert not domain.continuous


def test_without_any_of_it_features_are_alone() -> None:
    domain, sets = settle_features(3, 0, 1)
    assert (domain.groups, domain.kinds, sets) == (None, None, None)
    assert domain.continuous
    assert settle_finer(None, 1, domain, None) is None


def test_counts_have_whole_bounds() -> None:
    domain, _ = settle_features(2, [0.5, -1.2], [3.9, -0.9], kinds="count")
    assert domain.lower.tolist() == [1, -1]
    assert domain.upper.tolist() == [3, -1]
    assert domain.tested.tolist() == [True, False]


def test_blocks_of_which_a_part_is_masked() -> None:
    with pytest.raises(ValueError, match="'b' changes as a whole; w of its columns are masked"):
        settle_features(3, 0, 1, blocks={"b": [0, 1]}, names=tuple("vwx"),
                        mask=np.array([True, False, True]))  # fmt: skip
    domain, _ = settle_features(3, 0, 1, blocks={"b": [0, 1]}, mask=np.array([False, False, True]))
    assert domain.free.tolist() == [2]
