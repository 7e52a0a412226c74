"""Following a model along paths: closed forms, placebos, flips, memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sensx_sc.companions.property_gradient import Asked, Path, Paths, follow
from sensx_sc.companions.property_tables import (
    curve_table,
    paper_table,
    property_table,
    selectivity_table,
)

S = 21
STRENGTHS = np.linspace(-1, 1, S)


def line_paths(n: int = 6, *, replicates: int = 1, **more: Any) -> Paths:
    """Inputs are pairs: the edit moves the first number, placebos the second by as much."""

    def make(i: int, placebo: int) -> Path:
        inputs = np.zeros((S, replicates, 2))
        inputs[..., 0 if placebo == 0 else 1] = STRENGTHS[:, None] * (1 + 0.01 * placebo)
        inputs[..., 0] += i
        side = {} if placebo else {"line": inputs[..., 0], "other": 0.25 * inputs[..., 0] ** 2}
        moved = np.broadcast_to(STRENGTHS[:, None], (S, replicates))
        return Path(inputs, 2 * moved, side)

    return Paths(
        **{
            "name": "line", "unit": "u", "axis": "s", "strengths": STRENGTHS, "origin": S // 2,
            "make": make, "deviation": 4.0, "side_deviation": {"line": 4.0, "other": 0.5},
            "has_placebo": True, **more,
        }
    )  # fmt: skip


def asked(n: int = 6, *, classify: bool = True, n_groups: int = 2) -> Asked:
    def outputs(rows: np.ndarray) -> np.ndarray:
        return np.stack([3 * rows[:, 0], -rows[:, 1]], axis=1)

    def respond(found: np.ndarray, target: np.ndarray) -> np.ndarray:
        return found[np.arange(len(found)), target]

    x = np.zeros((n, 2))
    x[:, 0] = np.arange(n)
    target = np.zeros(n, dtype=np.int64)
    return Asked(
        outputs,
        respond,
        (lambda found: (found[:, 0] > 0.5).astype(np.int64)) if classify else None,
        np.arange(n),
        target,
        respond(outputs(x), target),
        np.arange(n) % n_groups,
        n_groups,
    )


def test_a_linear_model() -> None:
    """q moves by 3 a unit of the input, that is by 1.5 a unit of what is measured."""
    found = follow(line_paths(), asked(), n_placebos=4)
    np.testing.assert_allclose(found.scores.epgm, 1.5)
    np.testing.assert_allclose(found.scores.net, 1.5)
    np.testing.assert_allclose(found.scores.local, 1.5)
    np.testing.assert_allclose(found.m, np.tile(2 * STRENGTHS, (6, 1)))
    np.testing.assert_allclose(found.q, 3 * (np.arange(6)[:, None] + STRENGTHS))
    assert found.flips.tolist() == [1, 1, 0, 0, 0, 0]
    np.testing.assert_allclose(found.side["line"], 2)
    np.testing.assert_allclose(found.placebo_epgm, 0, atol=1e-12)  # target 0 reads the first only
    np.testing.assert_allclose(found.placebo_q[:, 0], 3 * 2, atol=1e-12)  # mean of 0, 2, 4
    np.testing.assert_allclose(found.placebo_q[:, 1], 3 * 3, atol=1e-12)


def test_several_outputs_of_an_input_share_its_paths() -> None:
    """Each input is edited once, whatever is asked of it."""
    question = asked()
    calls: list[int] = []

    def watched(rows: np.ndarray) -> np.ndarray:
        calls.append(len(rows))
        return question.outputs(rows)

    both = Asked(
        **{
            **vars(question),
            "outputs": watched,
            "item": np.repeat([1, 4], 2),
            "target": np.array([0, 1, 0, 1]),
            "q_x": np.array([3.0, 0.0, 12.0, 0.0]),
            "group": np.array([0, 1, 0, 1]),
        }
    )
    found = follow(line_paths(), both, n_placebos=2)
    assert calls == [2 * 3 * S]
    np.testing.assert_allclose(found.scores.epgm, [1.5, 0, 1.5, 0])
    np.testing.assert_allclose(found.placebo_epgm[0], [0, 0.505, 0, 0.505])
    np.testing.assert_allclose(found.placebo_q[0, 0], 3 * 2.5)


def test_replicates_are_averaged() -> None:
    once, often = (follow(line_paths(replicates=r), asked()) for r in (1, 5))
    np.testing.assert_allclose(once.q, often.q)
    np.testing.assert_array_equal(once.flips, often.flips)


def test_models_without_classes_and_paths_without_placebos() -> None:
    found = follow(line_paths(has_placebo=False), asked(classify=False), n_placebos=9)
    assert np.isnan(found.flips).all()
    assert found.placebo_epgm.shape == (0, 6)


def test_calls_hold_several_paths_but_no_more_than_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    question = asked()

    def watched(rows: np.ndarray) -> np.ndarray:
        sizes.append(len(rows))
        return question.outputs(rows)

    counted = Asked(**{**vars(question), "outputs": watched})
    whole = follow(line_paths(), counted, n_placebos=3)
    assert sizes == [6 * 4 * S]
    monkeypatch.setattr(property_gradient_module(), "_BYTES_AT_ONCE", 5 * S * 2 * 8)
    done: list[int] = []
    again = follow(line_paths(), counted, n_placebos=3, advance=done.append)
    assert max(sizes[1:]) == 5 * S
    assert sum(done) == 6
    np.testing.assert_array_equal(whole.q, again.q)
    np.testing.assert_allclose(whole.placebo_q, again.placebo_q)


def property_gradient_module() -> Any:
    import importlib

    return importlib.import_module("sensx_sc.companions.property_gradient")


# ------------------------------------------------------------------ tables


def test_the_table() -> None:
    question = asked()
    found = [follow(line_paths(), question, n_placebos=19)]
    table = property_table(found, question, ["even", "odd"]).set_index("group")
    assert table["n_inputs"].tolist() == [3, 3]
    np.testing.assert_allclose(table["epgm"], 1.5)
    np.testing.assert_allclose(table["epgm_per_sd"], 6)
    np.testing.assert_allclose(table["net"], 1.5)
    np.testing.assert_allclose(table["monotonicity"], 1)
    np.testing.assert_allclose(table["own_change"], 4 / 4)
    assert (table["side_effect"] == "other").all()
    np.testing.assert_allclose(table["p_placebo"], 1 / 20)
    np.testing.assert_allclose(table["p_placebo_adjusted"], 1 / 20)
    np.testing.assert_allclose(table["flipped"], [1 / 3, 1 / 3])
    np.testing.assert_allclose(table["flips"], [1 / 3, 1 / 3])
    selectivity = selectivity_table(found)
    assert selectivity.loc["line", "line"] == pytest.approx(1)
    expected = np.mean([np.ptp(0.25 * (i + STRENGTHS) ** 2) for i in range(6)]) / 0.5
    assert selectivity.loc["line", "other"] == pytest.approx(expected)


def test_inputs_whose_property_does_not_move_are_left_out() -> None:
    still = line_paths()

    def make(i: int, placebo: int) -> Path:
        path = still.make(i, placebo)
        return path._replace(measured=path.measured * (i > 1))

    question = asked(n_groups=1)
    found = [follow(line_paths(make=make), question, n_placebos=3)]
    table = property_table(found, question, ["all"])
    assert table.loc[0, "n_inputs"] == 4
    assert table.loc[0, "epgm"] == pytest.approx(1.5)
    none = line_paths(make=lambda i, k: still.make(i, k)._replace(measured=np.ones((S, 1))))
    table = property_table([follow(none, question, n_placebos=3)], question, ["all"])
    assert table.loc[0, "n_inputs"] == 0
    assert np.isnan(table.loc[0, ["epgm", "net", "p_placebo", "p_net"]].astype(float)).all()


def test_curves() -> None:
    question = asked()
    curves = curve_table([follow(line_paths(), question, n_placebos=5)], question, ["even", "odd"])
    even = curves[curves["group"] == "even"]
    np.testing.assert_allclose(even["strength"], STRENGTHS)
    np.testing.assert_allclose(even["q"], 3 * (2 + STRENGTHS))
    np.testing.assert_allclose(even["q_low"], 3 * (1 + STRENGTHS))
    np.testing.assert_allclose(even["placebo_low"], 6)
    np.testing.assert_allclose(even["placebo_high"], 6)
    without = curve_table([follow(line_paths(), question)], question, ["even", "odd"])
    assert without["placebo_low"].isna().all()


def test_scores_as_published() -> None:
    question = asked(n_groups=1)
    found = [follow(line_paths(), question)]
    table = paper_table(found, question, ["all"], n_permutations=500)
    traces = np.concatenate([question.q_x[:, None], found[0].q], axis=1)
    expected = np.abs(np.gradient(traces, axis=1)).mean()
    assert table.loc[0, "epgm_paper"] == pytest.approx(expected)
    assert table.loc[0, "p_shuffle"] == 0
    assert table.loc[0, "significant"] == 1
