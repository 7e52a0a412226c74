"""Curves of many inputs: common random numbers, areas, summaries, the control."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sensx_sc.core.options import Options
from sensx_sc.core.preparation import prepare
from sensx_sc.core.walks import place
from sensx_sc.metrics import curve_auc, perturbation_curve
from sensx_sc.metrics.curves import Curves, perturbation_curves, random_scores
from sensx_sc.metrics.explained import STAR, Explained, check_scales

N = 12
W = np.linspace(1, 3, N)


def q(rows: np.ndarray) -> np.ndarray:
    return np.exp(-(rows**2) @ W) + 0.5


def cells(keys: tuple[str, ...] = ("a", "b", "c"), seed: int = 3) -> Explained:
    rng = np.random.default_rng(0)
    x = dict(zip("abc", rng.random((3, N)) * 0.2, strict=True))
    rows = np.stack([x[key] for key in keys])
    run = prepare(
        rows, q, lower=0, upper=1, mask=np.arange(N) != 4, qoi="auto", deltas="auto", n_walks=20,
        design="balanced", out_of_domain="raise", names=None, batch_size="auto", device="cpu",
        options=Options(seed=seed),
    )  # fmt: skip
    star = dict(zip("abc", (0.1, 0.4, 0.9), strict=True))
    target = np.zeros(len(keys), dtype=np.int64)
    return Explained(run, rows, keys, target, np.array([star[key] for key in keys]))


def scores(seed: int) -> Any:
    def of(i: int) -> np.ndarray:
        return np.random.default_rng(seed).normal(size=N)

    return of


def made(some: Explained, **how: Any) -> Curves:
    rankings = how.pop("scores", {"one": scores(0), "other": scores(1)})
    settings: dict[str, Any] = {"scales": (STAR, 1.0), "ks": np.arange(1, N), "n_draws": 40}
    return perturbation_curves(some, rankings, **(settings | how))


def test_curves_are_those_of_the_definition() -> None:
    some = cells()
    found = made(some)
    assert found.ratio.shape == (3, 2, 2, 2, N - 1)
    domain, free = some.run.domain, some.free
    for i, scale in ((0, STAR), (1, 1.0), (2, STAR)):
        delta = some.delta_star[i] if scale == STAR else 1.0
        ends = np.repeat(some.x(i)[None], 40, axis=0)
        ends[:, free] = place(some.fractions(i, 40), some.x(i), domain, delta)
        ranked = scores(1)(i)
        ranked[4] = np.nan
        for d, bottom in enumerate((False, True)):
            curve = perturbation_curve(q, some.x(i), ranked, ends, found.ks, bottom=bottom)
            expected = np.median(curve, axis=1) / q(some.x(i)[None])[0]
            s = 0 if scale == STAR else 1
            np.testing.assert_allclose(found.ratio[i, 1, d, s], expected, rtol=1e-12)


def test_endpoints_are_common_to_ks_and_rankings() -> None:
    """The same ranking under two names, and on its own with other ks, gives the same numbers."""
    both = made(cells(), scores={"one": scores(0), "again": scores(0)})
    np.testing.assert_array_equal(both.ratio[:, 0], both.ratio[:, 1])
    alone = made(cells(), scores={"one": scores(0)}, ks=np.array([2, 7]))
    np.testing.assert_allclose(alone.ratio[:, 0], both.ratio[:, 0][..., [1, 6]], rtol=1e-12)
    # with all features moved, all rankings and both directions agree
    np.testing.assert_allclose(np.ptp(both.ratio[..., -1], axis=(1, 2)), 0, atol=1e-12)


def test_inputs_depend_on_their_name_alone() -> None:
    whole, part = made(cells()), made(cells(("c",)))
    np.testing.assert_allclose(whole.ratio[2], part.ratio[0], rtol=1e-12)
    other = made(cells(("c",), seed=4))
    assert not np.allclose(other.ratio, part.ratio)


def test_tables() -> None:
    found = made(cells())
    auc = found.auc()
    assert list(auc.columns) == ["cell", "method", "direction", "scale", "auc"]
    assert len(auc) == 3 * 2 * 2 * 2
    row = auc.query("cell == 'b' and method == 'other' and direction == 'bottom' and scale == '1'")
    expected = curve_auc(found.ratio[1, 1, 1, 1], found.ks, found.n)
    assert row["auc"].item() == pytest.approx(float(expected))
    table = found.summary(np.array(["x", "y", "x"], dtype=object))
    assert set(table["group"]) == {"x", "y"}
    first = table.query("k == 0")
    assert (first["mean"] == 1).all()
    row = table.query(
        "group == 'x' and method == 'one' and direction == 'top' and scale == 'delta_star' "
        "and k == 3"
    )
    of_group = found.ratio[[0, 2], 0, 0, 0, 2]
    assert row["mean"].item() == pytest.approx(of_group.mean())
    assert row["std"].item() == pytest.approx(of_group.std(ddof=1))
    assert row["n_cells"].item() == 2
    assert row["fraction"].item() == pytest.approx(3 / 11)
    assert table.query("group == 'y'")["std"].isna().all()


def test_zero_features_may_be_asked_for() -> None:
    found = made(cells(), ks=np.array([0, 3]))
    assert (found.ratio[..., 0] == 1).all()
    table = found.summary(np.array(["x"] * 3, dtype=object))
    assert sorted(table["k"].unique().tolist()) == [0, 3]


def test_the_control_is_random_and_repeats() -> None:
    some = cells()
    of = random_scores(some)
    first, again, other = of(0), of(0), of(1)
    np.testing.assert_array_equal(first, again)
    assert np.isnan(first[4])
    assert not np.array_equal(first[some.free], other[some.free])


@pytest.mark.parametrize(
    "wrong", [[], 0, 0.0, 1.5, [0.5, 2], "star", [True], None, {"a": 1}, [np.nan]]
)
def test_scales_that_are_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match="`scales` must hold 'delta_star' or numbers in"):
        check_scales(wrong)


def test_scales() -> None:
    assert check_scales("delta_star") == (STAR,)
    assert check_scales(0.5) == (0.5,)
    assert check_scales([STAR, 1, 1.0]) == (STAR, 1.0)
