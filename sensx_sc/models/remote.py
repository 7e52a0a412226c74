"""A model that is served elsewhere, by the Open Inference Protocol."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor, as_completed
from numbers import Real
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import torch

from sensx_sc.logger import logger
from sensx_sc.models.inference_protocol import Signature, signature
from sensx_sc.models.model import OutputKind, as_names
from sensx_sc.models.remote_calls import Calls, Counts, RemoteError, address_of
from sensx_sc.models.response_cache import ResponseCache, digest, row_keys

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    Floats = NDArray[np.float64]

_SAME = 1e-3  # relative difference of answers that another batch may make
_TORCH = {"FP32": torch.float32, "FP64": torch.float64}


class Remote:
    """A model behind the Open Inference Protocol v2 (KServe, Triton, MLServer) over HTTP(S).

    Rows are sent ``batch_size`` at a time, ``concurrency`` requests at once. A request that fails
    in passing (connection cut, no answer in time, 429, 500, 502 to 504, an answer of a wrong shape
    or with NaN) is repeated after a growing wait, or the wait the server asks for; results do not
    depend on it. With a ``cache`` an answer that was given once is not asked for again: a run
    that was stopped goes on where it was, and the same run again costs nothing.

    Before a run starts, its number of rows and requests is logged, and refused if there are more
    than ``max_requests``. The first rows are asked twice, alone and in another order: a model
    whose answers depend on the batch or on chance is refused.

    Parameters
    ----------
    url
        Where it is served, such as ``"https://host:8080"``; without credentials.
    model
        Its name there.
    version
        Its version there; None: the server's choice.
    outputs
        What its outputs are: ``"probability"``, ``"logit"`` or ``"value"``.
    feature_names, output_names
        Names, which the protocol does not carry.
    input_name, output_name, datatype
        Tensors to use and ``"FP32"`` or ``"FP64"``; by default the server is asked.
    headers
        Sent with each request, credentials for example. They are in no log, result or cache.
    batch_size, concurrency
        Rows of a request, and requests under way at once.
    rate_limit
        Most requests a second; None: no limit.
    timeout, retries, backoff
        Seconds without a sign of the server, how often a failed request is repeated, and seconds
        before the first repetition.
    cache
        Folder for answers on disk; None: they are not kept. Where the model behind the name has
        changed, the first new request finds out and says so.
    max_requests
        Runs that may need more requests are refused.
    binary
        Send numbers as bytes instead of text: much smaller, where the server has this extension
        (KServe, Triton).
    verify
        Whether certificates are checked, or the path of a bundle of them.

    Raises
    ------
    ValueError, TypeError
        Wrong arguments, or a served model with tensors that are not those of rows.
    RemoteError
        The server cannot be reached, or does not know the model.

    Examples
    --------
    >>> import sensx_sc as sx
    >>> model = sx.models.Remote(  # doctest: +SKIP
    ...     "https://models.example.org",
    ...     "cell-types",
    ...     outputs="probability",
    ...     feature_names=adata.var_names,
    ...     headers={"Authorization": f"Bearer {token}"},
    ...     cache="answers/",
    ... )
    >>> sx.tl.sensx(adata, model, top_k=50)  # doctest: +SKIP
    """

    input_range: tuple[float, float] | None = None

    def __init__(
        self,
        url: str,
        model: str,
        *,
        version: str | int | None = None,
        outputs: OutputKind = "value",
        feature_names: Sequence[object] | None = None,
        output_names: Sequence[object] | None = None,
        input_name: str | None = None,
        output_name: str | None = None,
        datatype: str | None = None,
        headers: Mapping[str, str] | None = None,
        batch_size: int = 64,
        concurrency: int = 4,
        rate_limit: float | None = None,
        timeout: float = 60.0,
        retries: int = 8,
        backoff: float = 0.5,
        cache: str | os.PathLike[str] | None = None,
        max_requests: int | None = None,
        binary: bool = False,
        verify: bool | str = True,
    ) -> None:
        _check_whole("batch_size", batch_size, 1)
        _check_whole("concurrency", concurrency, 1)
        _check_whole("retries", retries, 0)
        if max_requests is not None:
            _check_whole("max_requests", max_requests, 1)
        _check_number("timeout", timeout)
        _check_number("backoff", backoff, zero=True)
        if rate_limit is not None:
            _check_number("rate_limit", rate_limit)
        if outputs not in get_args(OutputKind):
            msg = f"`outputs` must be one of {get_args(OutputKind)}; got {outputs!r}."
            raise ValueError(msg)
        self.name = model
        self.kind: OutputKind = outputs
        self.feature_names = as_names(feature_names)
        self.output_names = as_names(output_names)
        self.batch_size, self.concurrency = int(batch_size), int(concurrency)
        self.max_requests, self._binary = max_requests, binary
        address = address_of(url, model, None if version is None else str(version), headers)
        self._calls = Calls(
            address,
            headers=headers,
            timeout=timeout,
            retries=int(retries),
            backoff=backoff,
            rate_limit=rate_limit,
            verify=verify,
        )
        tensors = input_name or "", output_name or "", datatype or ""
        self._salt = digest([address, *tensors])
        self._cache = None if cache is None else ResponseCache(cache, self._salt)
        self._about = self._signature(input_name, output_name, datatype)
        n = self._about.n_features
        if n is not None and self.feature_names is not None and len(self.feature_names) != n:
            msg = (
                f"`feature_names` has {len(self.feature_names)} names; the served model "
                f"{model!r} takes {n} features."
            )
            raise ValueError(msg)

    def _signature(
        self, input_name: str | None, output_name: str | None, datatype: str | None
    ) -> Signature:
        if input_name is not None and datatype is not None:
            return signature({}, input_name=input_name, output_name=output_name, datatype=datatype)
        known = None if self._cache is None else self._cache.note("metadata")
        metadata = self._calls.metadata() if known is None else known
        found = signature(
            metadata, input_name=input_name, output_name=output_name, datatype=datatype
        )
        if self._cache is not None and known is None:
            self._cache.put_note("metadata", metadata)
        return found

    def __repr__(self) -> str:
        return f"Remote({self._calls.address!r}, {self.batch_size} rows a request)"

    @property
    def source(self) -> Remote:
        return self

    @property
    def dtypes(self) -> tuple[torch.dtype, ...]:
        return (_TORCH[self._about.datatype],)

    @property
    def counts(self) -> Counts:
        """Requests, retries, rows, and rows whose answers were in the cache, so far."""
        return self._calls.counts

    def device(self, dtype: torch.dtype) -> torch.device:
        return torch.device("cpu")

    def announce(self, n_rows: int) -> None:
        """Say what a run will cost at most, before it starts.

        Raises
        ------
        ValueError
            It may need more than ``max_requests``.
        """
        requests = math.ceil(n_rows / self.batch_size)
        kept = "" if self._cache is None else f"; answers to {len(self._cache)} rows are at hand"
        cost = f"{n_rows} rows in {requests} requests of {self.batch_size} rows"
        if self.max_requests is not None and requests > self.max_requests:
            msg = (
                f"the run asks {self.name!r} for up to {cost}{kept}, and `max_requests` is "
                f"{self.max_requests}. Explain fewer cells (`mask_obs`) or genes (`mask_var`), "
                "race for the top ones (`top_k`), take groups of genes (`groups`), fewer `deltas`, "
                "`n_samples` or `n_walks`, or raise `batch_size` or `max_requests`."
            )
            raise ValueError(msg)
        logger.info("remote: %s will be asked for up to %s%s.", self._calls.address, cost, kept)

    def outputs(self, rows: Tensor) -> Tensor:
        x = rows.detach().cpu().numpy().astype(self._about.dtype)
        n = self._about.n_features
        if n is not None and x.shape[1] != n:
            msg = f"the served model {self.name!r} takes {n} features; the rows have {x.shape[1]}."
            raise ValueError(msg)
        keys = row_keys(x, self._salt)
        first = {key: i for i, key in reversed(list(enumerate(keys)))}
        known = {} if self._cache is None else self._cache.get(list(first))
        self._calls.count(from_cache=len(known))
        missing = {key: i for key, i in first.items() if key not in known}
        if missing:
            asked = self._asked(x[list(missing.values())], list(missing))
            known |= dict(zip(missing, asked, strict=True))
        return torch.as_tensor(np.stack([known[key] for key in keys]))

    def _asked(self, rows: NDArray[Any], keys: list[bytes]) -> Floats:
        """Outputs of rows from the server; what was answered is kept, whatever happens then."""
        if not self.__dict__.get("_tried"):
            self._try(rows)
        parts = [slice(a, a + self.batch_size) for a in range(0, len(rows), self.batch_size)]
        found: dict[int, Floats] = {}
        with ThreadPoolExecutor(min(self.concurrency, len(parts))) as pool:
            futures = {pool.submit(self._ask, rows[part]): i for i, part in enumerate(parts)}
            try:
                for future in as_completed(futures):
                    i = futures[future]
                    found[i] = future.result()
                    self._keep(keys[parts[i]], found[i])
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                for future, i in futures.items():
                    answered = not future.cancelled() and future.exception() is None
                    if answered and i not in found:
                        self._keep(keys[parts[i]], future.result())
                raise
        widths = {answer.shape[1] for answer in found.values()}
        if len(widths) > 1:
            msg = f"{self.name!r} answered with {' and '.join(map(str, sorted(widths)))} outputs."
            raise RemoteError(msg)
        return np.concatenate([found[i] for i in range(len(parts))])

    def _ask(self, rows: NDArray[Any]) -> Floats:
        return self._calls.answers(rows, self._about, binary=self._binary)

    def _keep(self, keys: list[bytes], answers: Floats) -> None:
        if self._cache is not None:
            pairs = zip(keys, answers, strict=True)
            self._cache.put({key: answer for key, answer in pairs if np.isfinite(answer).all()})

    def _try(self, rows: NDArray[Any]) -> None:
        """Before the first request, look whether it is the model of the cache and repeats itself.

        Raises
        ------
        ValueError
            It is another, or its answers depend on chance or on the other rows of a request.
        """
        probe = None if self._cache is None else self._cache.note("probe")
        if probe is not None:
            row = np.array(probe["row"], dtype=self._about.dtype)[None]
            if _differ(self._ask(row), np.array([probe["outputs"]])):
                msg = (
                    f"the model {self.name!r} gives other answers than those in the cache: it was "
                    "changed since. Give its version, or another `cache`."
                )
                raise ValueError(msg)
        else:
            some = rows[: min(len(rows), self.batch_size, 8)]
            together = self._ask(some)
            again = np.concatenate([self._ask(some[:1]), self._ask(some[::-1])[::-1][1:]])
            if _differ(together, again):
                msg = (
                    f"the answers of {self.name!r} for the same rows differ by "
                    f"{np.nanmax(np.abs(together - again)):.3g} from one request to another: they "
                    "depend on chance, or on the other rows of the request."
                )
                raise ValueError(msg)
            if self._cache is not None and np.isfinite(together[0]).all():
                told = {"row": some[0].tolist(), "outputs": together[0].tolist()}
                self._cache.put_note("probe", told)
        self._tried = True


def _differ(a: Floats, b: Floats) -> bool:
    if a.shape != b.shape or not np.array_equal(np.isfinite(a), np.isfinite(b)):
        return True
    both = np.isfinite(a)
    size = np.abs(a[both]).max(initial=1e-12)
    return bool(np.abs(a - b)[both].max(initial=0.0) > _SAME * size)


def _check_whole(name: str, value: Any, least: int) -> None:
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not whole or value < least:
        msg = f"`{name}` must be a whole number of at least {least}; got {value!r}."
        raise ValueError(msg)


def _check_number(name: str, value: Any, *, zero: bool = False) -> None:
    number = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    if not number or not (value > 0 or (zero and value == 0)):
        msg = f"`{name}` must be a {'' if zero else 'positive '}number; got {value!r}."
        raise ValueError(msg)
