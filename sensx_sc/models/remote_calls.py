"""Calls of a served model that survive what networks and servers do."""

from __future__ import annotations

import ipaddress
import threading
import urllib.parse
import warnings
import weakref
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from sensx_sc.models.inference_protocol import AnswerError, decode, encode
from sensx_sc.models.pacing import Pace, retry_after

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from sensx_sc.models.inference_protocol import Signature

    Floats = NDArray[np.float64]

_PASSING = (408, 425, 429, 500, 502, 503, 504)
_NOT_FINITE = 6  # answers with NaN in a row after which they are believed
_LONGEST_WAIT = 60.0
_SHOWN = 200  # characters of what a server says


class RemoteError(RuntimeError):
    """A served model that cannot be asked, with what was tried; never with a secret."""


class _PassingError(Exception):
    """Something that may be over at the next try."""

    def __init__(self, said: str, wait: float = 0.0) -> None:
        super().__init__(said)
        self.wait = wait


@dataclass(frozen=True)
class Counts:
    """What was asked of a server so far.

    Attributes
    ----------
    requests, retries
        Requests made, those that repeat one that failed included, and how many do.
    rows
        Rows that were answered by the server.
    from_cache
        Rows whose answers were there.
    """

    requests: int = 0
    retries: int = 0
    rows: int = 0
    from_cache: int = 0


class Calls:
    """A served model that is called over HTTP, from several threads.

    Parameters
    ----------
    address
        ``<url>/v2/models/<model>``, or a version of it.
    headers
        Sent with every request; never shown.
    timeout
        Seconds without a sign of the server.
    retries
        How often a request that failed in passing is repeated.
    backoff
        Seconds before the first repetition, about; each further one waits twice as long.
    rate_limit
        Requests a second, or None.
    verify
        As of :class:`httpx.Client`: True, False, or the path of a bundle of certificates.
    """

    def __init__(
        self,
        address: str,
        *,
        headers: Mapping[str, str] | None,
        timeout: float,
        retries: int,
        backoff: float,
        rate_limit: float | None,
        verify: bool | str,
    ) -> None:
        self.address = address
        self._headers = dict(headers or {})
        self._timeout, self._retries, self._backoff = timeout, retries, backoff
        self._rate_limit, self._verify = rate_limit, verify
        self.counts = Counts()
        self._open()

    def _open(self) -> None:
        self._lock = threading.Lock()
        self._pace = Pace(self._rate_limit)
        self._made: Any = None

    def __getstate__(self) -> dict[str, Any]:
        left_out = ("_lock", "_pace", "_made")
        return {name: value for name, value in self.__dict__.items() if name not in left_out}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ |= state
        self._open()

    def __repr__(self) -> str:
        return f"Calls({self.address!r})"

    @property
    def _client(self) -> Any:
        import httpx

        with self._lock:
            if self._made is None:
                verify: Any = self._verify
                if isinstance(verify, str):
                    import ssl

                    verify = ssl.create_default_context(cafile=verify)
                self._made = httpx.Client(
                    headers=self._headers, timeout=self._timeout, verify=verify
                )
                weakref.finalize(self, self._made.close)
            return self._made

    def count(self, **more: int) -> None:
        """Add to the counts."""
        with self._lock:
            added = {name: getattr(self.counts, name) + n for name, n in more.items()}
            self.counts = replace(self.counts, **added)

    def metadata(self) -> dict[str, Any]:
        """What the server says of the model.

        Raises
        ------
        RemoteError
            The server cannot be reached or does not know the model.
        """

        def read(response: Any) -> dict[str, Any]:
            try:
                return dict(response.json())
            except (ValueError, TypeError):
                msg = "its metadata are not JSON"
                raise _PassingError(msg) from None

        found: dict[str, Any] = self._persist("GET", "", b"", {}, read)
        return found

    def answers(self, rows: NDArray[Any], about: Signature, *, binary: bool) -> Floats:
        """Outputs (B, K) of rows (B, n), in one request and as many more as it takes.

        An answer with NaN or infinite numbers is asked for again, and believed when it comes back
        so several times.

        Raises
        ------
        RemoteError
            The server refuses, or goes on failing.
        """
        body, headers = encode(rows, about, binary=binary)
        odd: list[Floats] = []

        def read(response: Any) -> Floats:
            try:
                found = decode(response.content, response.headers, len(rows), about)
            except AnswerError as error:
                msg = f"its answer is wrong: {error}"
                raise _PassingError(msg) from None
            if not np.isfinite(found).all():
                odd.append(found)
                if len(odd) < _NOT_FINITE:
                    msg = "its answer has values that are NaN or infinite"
                    raise _PassingError(msg)
            return found

        try:
            answered: Floats = self._persist("POST", "/infer", body, headers, read)
        except RemoteError as error:
            if not binary:
                raise
            msg = f"{error} It was sent bytes, which not every server reads: try binary=False."
            raise RemoteError(msg) from None
        self.count(rows=len(rows))
        return answered

    def _persist(
        self,
        method: str,
        path: str,
        body: bytes,
        headers: dict[str, str],
        read: Callable[[Any], Any],
    ) -> Any:
        import tenacity

        def once() -> Any:
            return read(self._once(method, path, body, headers))

        def wait(state: Any) -> float:
            asked = getattr(state.outcome.exception(), "wait", 0.0)
            return max(asked, float(jittered(state)))

        jittered = tenacity.wait_random_exponential(multiplier=self._backoff, max=_LONGEST_WAIT)
        trying = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(self._retries + 1),
            wait=wait,
            retry=tenacity.retry_if_exception_type(_PassingError),
            before_sleep=lambda _: self.count(retries=1),
            reraise=True,
        )
        try:
            return trying(once)
        except _PassingError as error:
            msg = (
                f"{self.address} could not be asked, in {self._retries + 1} tries; the last time "
                f"{error}."
            )
            raise RemoteError(msg) from None

    def _once(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> Any:
        """One request.

        Raises
        ------
        _PassingError
            What may be over at the next try.
        RemoteError
            What will not.
        """
        import httpx

        self._pace.wait()
        self.count(requests=1)
        try:
            response = self._client.request(
                method, self.address + path, content=body or None, headers=headers
            )
        except (httpx.TransportError, httpx.DecodingError) as error:
            msg = f"the connection failed ({type(error).__name__})"
            raise _PassingError(msg) from None
        if response.status_code in _PASSING:
            msg = f"it answered {response.status_code}{self._said(response)}"
            raise _PassingError(msg, retry_after(response.headers.get("Retry-After")))
        if response.status_code != 200:
            advice = _ADVICE.get(response.status_code, "")
            msg = f"{self.address} answered {response.status_code}{self._said(response)}.{advice}"
            raise RemoteError(msg)
        return response

    def _said(self, response: Any) -> str:
        """What a server says, without what it should not say."""
        text = " ".join(response.text[: 10 * _SHOWN].split())
        for value in self._headers.values():
            for secret in (value, value.rpartition(" ")[2]):
                text = text.replace(secret, "***") if len(secret) > 3 else text
        return f" ({text[:_SHOWN]})" if text else ""


_ADVICE = {
    401: " Pass credentials as `headers`.",
    403: " Are the credentials in `headers` those of someone who may use the model?",
    404: " Are `url`, `model` and `version` right?",
    413: " Pass a smaller `batch_size`.",
}


def address_of(url: str, model: str, version: str | None, headers: Mapping[str, str] | None) -> str:
    """``<url>/v2/models/<model>``, checked.

    Raises
    ------
    ValueError
        No such address, or one with a secret in it.
    """
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        msg = f"`url` must be such as 'https://host:8080'; got {_hidden(parts)!r}."
        raise ValueError(msg)
    if parts.username or parts.password or parts.query or parts.fragment:
        msg = (
            f"`url` must be without user, password and query, which end up in logs; got "
            f"{_hidden(parts)!r}. Pass credentials as `headers`."
        )
        raise ValueError(msg)
    if headers and parts.scheme == "http" and not _is_here(parts.hostname):
        warnings.warn(
            f"`headers` go to {parts.hostname} over plain HTTP, where others can read them; use "
            "https.",
            UserWarning,
            stacklevel=3,
        )
    path = parts.path.rstrip("/").removesuffix("/v2")
    name = urllib.parse.quote(model, safe="")
    address = f"{parts.scheme}://{parts.netloc}{path}/v2/models/{name}"
    return address if version is None else f"{address}/versions/{urllib.parse.quote(version)}"


def _hidden(parts: urllib.parse.SplitResult) -> str:
    """An address without what may be secret."""
    return f"{parts.scheme}://{parts.hostname or ''}{parts.path}"


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
