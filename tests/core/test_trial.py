"""A model is tried on inputs that it can take, if there are any."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from sensx_sc.core.domain import make_domain
from sensx_sc.core.trial import candidates, ready_model, trial_inputs
from sensx_sc.models import as_model

if TYPE_CHECKING:
    from collections.abc import Callable

DOMAIN = make_domain(0, 1000, 2)


@pytest.mark.parametrize("n", [1, 2, 4, 5, 16, 17, 1000, 10**6])
def test_candidates_are_the_first_and_some_of_all(n: int) -> None:
    rows = candidates(n)
    assert list(rows[: min(4, n)]) == list(range(min(4, n)))
    assert rows[-1] == n - 1
    assert len(rows) == len(set(rows.tolist())) <= 16


def model_that(raises: Callable[[float], bool], nan: Callable[[float], bool]) -> Any:
    def model(rows: np.ndarray) -> np.ndarray:
        if any(raises(value) for value in rows[:, 0]):
            msg = "no such cell"
            raise ArithmeticError(msg)
        return np.where([nan(value) for value in rows[:, 0]], np.nan, rows.sum(axis=1))

    return model


def tried(model: Any, n: int = 200, *, mark: bool = True) -> list[int]:
    rows = np.stack([np.arange(n), np.zeros(n)], axis=1)
    ready = ready_model(model, rows, DOMAIN, "cpu", mark=mark)
    return trial_inputs(rows, DOMAIN, ready, mark=mark).tolist()


def never(_: float) -> bool:
    return False


def test_the_first_four_where_the_model_takes_all() -> None:
    assert tried(model_that(never, never)) == [0, 1, 2, 3]
    assert tried(model_that(never, never), mark=False) == [0, 1, 2, 3]
    assert tried(model_that(never, never), 2) == [0, 1]


@pytest.mark.parametrize("how", ["raises", "nan"])
def test_inputs_that_it_fails_on_are_passed_over(how: str) -> None:
    def ill(value: float) -> bool:
        return value < 100

    model = model_that(ill, never) if how == "raises" else model_that(never, ill)
    rows = tried(model)
    assert len(rows) == 4
    assert min(rows) >= 100


def test_with_one_good_input_it_is_enough() -> None:
    assert tried(model_that(lambda value: value != 199, never)) == [199]


def test_only_nan_is_better_than_nothing() -> None:
    assert tried(model_that(lambda value: value < 90, lambda _: True))[0] >= 90


def test_a_model_that_fails_on_all_is_refused_with_what_it_said() -> None:
    with pytest.raises(ValueError, match="failed on example rows of 2 features.*no such cell"):
        tried(model_that(lambda _: True, never))
    ready = as_model(model_that(never, never), n_features=2)
    rows = np.ones((5, 2))

    def always(_: Any) -> Any:
        msg = "not today"
        raise ArithmeticError(msg)

    object.__setattr__(ready, "source", always)
    with pytest.raises(ValueError, match="failed on rows of 2 features: ArithmeticError: not tod"):
        trial_inputs(rows, DOMAIN, ready, mark=True)


def test_without_marks_the_first_must_do() -> None:
    with pytest.raises(ValueError, match="no such cell"):
        tried(model_that(lambda value: value == 0, never), mark=False)
