"""Random numbers: functions of their keys alone, and the law of each design."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from sensx_sc.core.sampling import (
    Design,
    cell_key,
    endpoints,
    make_design,
    orders,
    uniforms,
)

u64 = st.integers(0, 2**64 - 1)
PURPOSES = ("calibration", "order", "stratum", "endpoint")


@given(u64, u64, st.sampled_from(PURPOSES), st.lists(st.integers(0, 40), min_size=3, max_size=3),
       st.integers(1, 9))  # fmt: skip
def test_uniforms_do_not_depend_on_chunks(
    seed: int, cell: int, purpose: str, cuts: list[int], n: int
) -> None:
    a, b, c = sorted(cuts)
    whole = uniforms(seed, cell, purpose, a, c, n)
    parts = [uniforms(seed, cell, purpose, a, b, n), uniforms(seed, cell, purpose, b, c, n)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    assert whole.shape == (c - a, n)
    assert ((whole >= 0) & (whole < 1)).all()


def test_streams_are_distinct() -> None:
    # Equal 53-bit numbers in independent streams of 40: probability 1e-12.
    streams = [
        uniforms(seed, cell, purpose, 0, 10, 4)
        for seed in (0, 1, 2**63)
        for cell in (0, 1)
        for purpose in PURPOSES
    ]
    numbers = np.concatenate(streams).ravel()
    assert len(np.unique(numbers)) == len(numbers)


def test_uniforms_are_uniform_in_rows_and_columns() -> None:
    # 40,000 numbers, KS at the 1e-3 level: sees a deviation of .01 of the distribution.
    u = uniforms(3, 5, "endpoint", 7, 10_007, 4)
    assert stats.kstest(u.ravel(), "uniform").pvalue > 1e-3
    correlation = np.corrcoef(u.T) - np.eye(4)
    assert np.abs(correlation).max() < 4 / np.sqrt(10_000)  # 4 standard errors
    assert abs(np.corrcoef(u[:-1, 0], u[1:, 0])[0, 1]) < 4 / np.sqrt(10_000)


def test_cell_keys_know_names_and_rows_apart() -> None:
    keys = [cell_key(k) for k in ("0", 0, "AAAC-1", "AAAC-2", 1)]
    assert len(set(keys)) == 5
    assert all(0 <= key < 2**64 for key in keys)
    assert cell_key("AAAC-1") == cell_key("AAAC-1")


def test_cell_keys_see_the_name_not_its_container() -> None:
    # A name keys the same numbers out of a list, a numpy array or a pandas index.
    assert cell_key(np.str_("AAAC-1")) == cell_key("AAAC-1")
    assert cell_key(np.int64(3)) == cell_key(3)


@pytest.mark.parametrize(
    ("name", "n_walks", "block", "n_blocks"),
    [
        ("uniform", 7, 1, 7),
        ("balanced", 200, 20, 10),
        ("balanced", 201, 20, 11),
        ("balanced", 80, 20, 4),
        ("balanced", 60, 14, 5),
        ("balanced", 40, 10, 4),
        ("balanced", 8, 2, 4),
        ("balanced", 7, 1, 7),
        ("balanced", 1, 1, 1),
    ],
)
def test_blocks(name: str, n_walks: int, block: int, n_blocks: int) -> None:
    design = make_design(name, n_walks)
    assert (design.block, design.n_blocks) == (block, n_blocks)
    assert design.n_walks == block * n_blocks


@given(st.integers(1, 500))
def test_at_least_four_blocks_and_no_walk_lost(n_walks: int) -> None:
    design = make_design("balanced", n_walks)
    assert n_walks <= design.n_walks < n_walks + 20
    assert design.n_blocks >= min(4, n_walks)
    assert design.block == 1 or design.block % 2 == 0


@pytest.mark.parametrize(
    ("name", "n_walks", "match"),
    [
        ("sobol9", 10, r"`design` must be one of \('balanced', 'uniform'\); got 'sobol9'"),
        ("balanced", 0, "`n_walks` must be a whole number of at least 1; got 0"),
        ("balanced", 2.5, "`n_walks` must be a whole number of at least 1; got 2.5"),
        ("balanced", True, "`n_walks` must be a whole number of at least 1; got True"),
        ("uniform", "10", "`n_walks` must be a whole number"),
    ],
)
def test_designs_that_are_refused(name: str, n_walks: object, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        make_design(name, n_walks)


DESIGNS = [Design("uniform", 1, 6000), Design("balanced", 6, 1000), Design("balanced", 20, 300)]


@pytest.mark.parametrize("design", DESIGNS, ids=str)
@pytest.mark.parametrize("place", [0, -1])
def test_each_order_on_its_own_is_uniform(design: Design, place: int) -> None:
    # The place-th walk of every block: blocks are independent, so chi-square over the 6 orders
    # holds. 300 blocks at the 1e-3 level see one order twice as frequent as it should be.
    free = np.array([0, 2, 3])
    drawn = orders(1, 2, design, range(design.n_blocks), 5, free)
    assert drawn.shape == (design.n_walks, 3)
    np.testing.assert_array_equal(np.sort(drawn, axis=1), np.tile([0, 1, 2], (len(drawn), 1)))
    chosen = [tuple(o) for o in drawn.reshape(design.n_blocks, design.block, 3)[:, place]]
    counts = [chosen.count(o) for o in permutations(range(3))]
    assert stats.chisquare(counts).pvalue > 1e-3


@pytest.mark.parametrize("design", DESIGNS, ids=str)
@pytest.mark.parametrize("place", [0, -1])
def test_each_endpoint_on_its_own_is_uniform(design: Design, place: int) -> None:
    # KS over independent blocks; 300 blocks at the 1e-3 level see a shift of .11.
    u = endpoints(1, 2, design, range(design.n_blocks), 5, np.array([0, 2, 3]))
    one = u.reshape(design.n_blocks, design.block, 3)[:, place]
    for j in range(3):
        assert stats.kstest(one[:, j], "uniform").pvalue > 1e-3
    between = np.corrcoef(one.T) - np.eye(3)
    assert np.abs(between).max() < 4 / np.sqrt(design.n_blocks)  # 4 standard errors


@pytest.mark.parametrize("m", [2, 6, 20])
def test_endpoints_of_a_block_are_a_latin_hypercube(m: int) -> None:
    u = endpoints(4, 9, Design("balanced", m, 7), range(7), 11, np.arange(1, 11))
    strata = np.floor(u.reshape(7, m, 10) * m).astype(int)
    np.testing.assert_array_equal(
        np.sort(strata, axis=1), np.broadcast_to(np.arange(m)[None, :, None], strata.shape)
    )
    # Every feature has an order of strata of its own.
    assert not np.array_equal(strata[0, :, 0], strata[0, :, 1]) or m == 2


@pytest.mark.parametrize(("m", "size"), [(20, 40), (20, 10), (6, 9), (2, 5), (20, 3)])
def test_a_block_is_one_order_its_rotations_and_their_reversals(m: int, size: int) -> None:
    design = Design("balanced", m, 3)
    drawn = orders(0, 0, design, range(3), size, np.arange(size)).reshape(3, m, size)
    for block in drawn:
        base = list(block[0])
        expected = []
        for k in range(m // 2):
            shift = k * size // (m // 2)
            turned = base[shift:] + base[:shift]
            expected += [tuple(turned), tuple(turned[::-1])]
        assert sorted(map(tuple, block)) == sorted(expected)
    assert not np.array_equal(drawn[0, 0], drawn[1, 0]) or size < 4


def test_every_feature_is_met_evenly_along_a_block() -> None:
    # With n a multiple of m / 2 a feature's mean position in a block is exactly the middle.
    size, m = 30, 20
    order = orders(5, 6, Design("balanced", m, 2), range(2), size, np.arange(size))
    position = np.argsort(order, axis=1).reshape(2, m, size)
    np.testing.assert_allclose(position.mean(axis=1), (size - 1) / 2)


@given(st.integers(0, 5), st.integers(1, 5), st.sampled_from([1, 4]))
def test_blocks_can_be_drawn_in_pieces(first: int, length: int, m: int) -> None:
    design, free = Design("balanced", m, 12), np.array([0, 1, 4])
    some = range(first, first + length)
    for draw in (orders, endpoints):
        whole = draw(7, 8, design, range(12), 6, free)
        piece = draw(7, 8, design, some, 6, free)
        np.testing.assert_array_equal(piece, whole[some.start * m : some.stop * m])


def test_masking_a_feature_leaves_the_others_their_numbers() -> None:
    design = Design("balanced", 4, 5)
    everything = endpoints(1, 1, design, range(5), 6, np.arange(6))
    fewer = np.array([0, 2, 5])
    np.testing.assert_array_equal(endpoints(1, 1, design, range(5), 6, fewer), everything[:, fewer])
    # The order of those that are left is the same.
    full = orders(1, 1, Design("uniform", 1, 9), range(9), 6, np.arange(6))
    part = fewer[orders(1, 1, Design("uniform", 1, 9), range(9), 6, fewer)]
    for a, b in zip(full, part, strict=True):
        np.testing.assert_array_equal(a[np.isin(a, fewer)], b)
