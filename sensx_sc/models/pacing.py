"""When requests to a server are made, and made again."""

from __future__ import annotations

import email.utils
import threading
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_LONGEST = 300.0  # seconds that a server may ask to be left alone


class Pace:
    """At most so many requests a second, from all threads together.

    Parameters
    ----------
    a_second
        Requests a second; None: no limit.
    clock, sleep
        As in :mod:`time`.
    """

    def __init__(
        self,
        a_second: float | None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._gap = 0.0 if a_second is None else 1.0 / a_second
        self._clock, self._sleep = clock, sleep
        self._lock = threading.Lock()
        self._next = -float("inf")

    def wait(self) -> None:
        """Return when it is one's turn."""
        if not self._gap:
            return
        with self._lock:
            now = self._clock()
            turn = max(now, self._next)
            self._next = turn + self._gap
        if turn > now:
            self._sleep(turn - now)


def retry_after(value: str | None, *, now: float | None = None) -> float:
    """Seconds that a ``Retry-After`` header asks for, a number or a date; 0 without one."""
    if not value:
        return 0.0
    try:
        seconds = float(value)
    except ValueError:
        date: Any = email.utils.parsedate_tz(value)
        if date is None:
            return 0.0
        seconds = email.utils.mktime_tz(date) - (time.time() if now is None else now)
    return min(max(seconds, 0.0), _LONGEST) if seconds == seconds else 0.0
