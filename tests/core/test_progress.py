"""Progress is shown in inputs, and what was done before says nothing of the time left."""

from __future__ import annotations

import numpy as np
import pytest

import sensx_sc as sx
from sensx_sc.core.progress import Progress, progress_bar


def last_line(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err.replace("\r", "\n").strip().splitlines()[-1]


def test_parts_of_inputs_count(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar(3, 100, show=True, unit="cell") as shown:
        for _ in range(5):
            shown.advance(50)
        assert shown._bar.n == pytest.approx(2.5)
        shown.advance(500)  # what is done twice is not counted beyond the end
        assert shown._bar.n == pytest.approx(3)
    assert "3.0/3 cells [" in last_line(capsys)


def test_parts_end_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar(3, 49, show=True, unit="cell") as shown:
        for _ in range(3 * 49):
            shown.advance(1)  # 1 / 49, added 147 times, is less than 3
        assert shown._bar.n == 3
    assert "100%|██████████| 3.0/3 cells [" in last_line(capsys)


def test_what_was_found_is_no_part_of_the_rate() -> None:
    with progress_bar(10, 100, show=True) as shown:
        shown.found(6)
        shown.advance(100)
        bar = shown._bar
        assert (bar.n, bar.initial) == (7, 6)
        told = bar.format_dict
        assert told["n"] - told["initial"] == 1
        shown.found(9)  # nor is what is found beyond the end
        assert (bar.n, bar.initial) == (10, 9)


@pytest.mark.parametrize(("show", "setting"), [(False, True), (None, False)])
def test_no_bar_where_none_is_wanted(
    show: bool | None, setting: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    with sx.settings.override(progress=setting), progress_bar(3, 1, show) as shown:
        shown.advance(1)
        shown.found(1)
    Progress().advance(3)
    assert capsys.readouterr().err == ""


def test_explain_shows_inputs_and_the_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    sx.core.explain(
        np.zeros((3, 4)), lambda z: z.sum(axis=1), lower=0, upper=1, n_walks=8, n_samples=20,
        progress=True,
    )  # fmt: skip
    assert "3.0/3 inputs [00:0" in last_line(capsys)
