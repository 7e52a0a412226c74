"""When requests are made."""

from __future__ import annotations

import threading

import pytest

from sensx_sc.models.pacing import Pace, retry_after


class Clock:
    """Time that passes only while someone sleeps."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def test_so_many_a_second() -> None:
    clock = Clock()
    pace = Pace(4, clock=clock, sleep=clock.sleep)
    for _ in range(9):
        pace.wait()
    assert clock.now == pytest.approx(102.0)
    clock.now += 60  # what was not used is not made up for
    pace.wait()
    pace.wait()
    assert clock.slept[-1] == pytest.approx(0.25)


def test_without_a_limit_nobody_waits() -> None:
    clock = Clock()
    pace = Pace(None, clock=clock, sleep=clock.sleep)
    for _ in range(5):
        pace.wait()
    assert not clock.slept


def test_threads_share_it() -> None:
    turns: list[float] = []
    pace = Pace(10, clock=lambda: 0.0, sleep=turns.append)
    threads = [threading.Thread(target=pace.wait) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(turns) == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, 0), ("", 0), ("7", 7), ("0.5", 0.5), ("-3", 0), ("99999", 300), ("soon", 0),
        ("nan", 0), ("Thu, 01 Jan 1970 00:00:20 GMT", 10), ("Thu, 01 Jan 1970 00:00:01 GMT", 0),
    ],
)  # fmt: skip
def test_what_a_server_asks_for(value: str | None, seconds: float) -> None:
    assert retry_after(value, now=10.0) == pytest.approx(seconds)
