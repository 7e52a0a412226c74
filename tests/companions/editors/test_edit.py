from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from sensx_sc.companions.editors.edit import (
    check_replicates,
    check_steps,
    check_word,
    generator,
    places_within_bins,
    where_unedited,
)

if TYPE_CHECKING:
    from sensx_sc.companions.population import Population


def test_steps() -> None:
    default = np.linspace(0, 1, 5)
    np.testing.assert_array_equal(check_steps(None, "s", default, 0, 1), default)
    np.testing.assert_array_equal(check_steps([1, 0.5, 0], "s", default, 0, 1), [1, 0.5, 0])
    for wrong in ([0.5], [0, 1, 0.5], [0, 0, 1], [0, 2], [[0, 1]], [0, np.nan]):
        with pytest.raises(ValueError, match="`s` must be two or more numbers that only rise"):
            check_steps(wrong, "s", default, 0, 1)


def test_words_and_replicates() -> None:
    with pytest.raises(ValueError, match="`mode` must be one of .* got 'c'"):
        check_word("c", "mode", ("a", "b"))
    for wrong in (0, 1.5, True):
        with pytest.raises(ValueError, match="`replicates` must be a whole number"):
            check_replicates(wrong)  # type: ignore[arg-type]


def test_where_nothing_changes() -> None:
    assert where_unedited(np.linspace(-2, 2, 41), 0.0) == 20
    assert where_unedited(np.linspace(-2, 2, 40), 0.0) is None


def test_random_numbers_depend_on_their_purpose_alone(population: Population) -> None:
    first = generator(population, "thinning", "a", "cell_3").random(3)
    np.testing.assert_array_equal(first, generator(population, "thinning", "a", "cell_3").random(3))
    assert not np.array_equal(first, generator(population, "thinning", "a", "cell_4").random(3))


def test_places_change_within_bins(population: Population) -> None:
    population.bins[:] = np.arange(20) // 5
    order = places_within_bins(population, "x")
    assert sorted(order(1).tolist()) == list(range(20))
    np.testing.assert_array_equal(population.bins[order(1)], population.bins)
    assert not np.array_equal(order(1), order(2))
    np.testing.assert_array_equal(order(1), order(1))
