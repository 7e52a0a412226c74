"""A server of the Open Inference Protocol on loopback, that also fails on purpose."""

from __future__ import annotations

import contextlib
import json
import random
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

KINDS = ("busy", "error", "slow", "cut", "shape", "nan", "text")
BINARY = "inference-header-content-length"
_NUMPY = {"FP32": "<f4", "FP64": "<f8"}


class Served:
    """What is served, and what was asked.

    ``fault(n)`` names the fault of the n-th request, or None; ``seen`` counts what happened.
    """

    def __init__(
        self,
        answer: Callable[[np.ndarray], np.ndarray],
        *,
        n_features: int = 5,
        datatype: str = "FP64",
        name: str = "m",
    ) -> None:
        self.name = name
        self.answer, self.n_features, self.datatype = answer, n_features, datatype
        self.fault: Callable[[int], str | None] = lambda n: None
        self.metadata: dict[str, Any] | None = None
        self.seen: dict[str, int] = {}
        self.rows: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.url = ""
        self.lock = threading.Lock()

    def count(self, what: str) -> int:
        with self.lock:
            self.seen[what] = self.seen.get(what, 0) + 1
            return self.seen[what]

    def described(self) -> dict[str, Any]:
        return self.metadata or {
            "name": "m",
            "versions": ["1"],
            "platform": "test",
            "inputs": [{"name": "x", "datatype": self.datatype, "shape": [-1, self.n_features]}],
            "outputs": [{"name": "y", "datatype": "FP64", "shape": [-1, -1]}],
        }

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One request, as an ASGI application."""
        headers = {k.decode().lower(): v.decode() for k, v in scope["headers"]}
        with self.lock:
            self.headers.append(headers)
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        path = scope["path"].replace(f"/v2/models/{self.name}", "/v2/models/m")
        if path == "/v2/models/m" and scope["method"] == "GET":
            self.count("metadata")
            await _reply(send, 200, self.described())
        elif path in ("/v2/models/m/infer", "/v2/models/m/versions/2/infer"):
            await self._infer(headers, body, receive, send)
        else:
            await _reply(send, 404, {"error": f"there is no {path}"})

    async def _infer(self, headers: dict[str, str], body: bytes, receive: Any, send: Any) -> None:
        n = self.count("infer")
        fault = self.fault(n)
        if fault is not None:
            self.count(fault)
        if fault == "busy":
            await _reply(send, 429, {"error": "busy"}, {"retry-after": "0"})
            return
        if fault == "error":
            told = {"error": "it broke while it held " + headers.get("authorization", "nothing")}
            await _reply(send, 500, told)
            return
        if fault == "refuse":
            await _reply(send, 403, {"error": "no"})
            return
        if fault == "slow":  # until the client has given up
            while (await receive())["type"] != "http.disconnect":
                pass
            return
        length = int(headers.get(BINARY, len(body)))
        request = json.loads(body[:length])
        (tensor,) = request["inputs"]
        shape = tensor["shape"]
        if "data" in tensor:
            flat = np.array(tensor["data"], dtype=_NUMPY[tensor["datatype"]])
        else:
            size = tensor["parameters"]["binary_data_size"]
            flat = np.frombuffer(body[length : length + size], dtype=_NUMPY[tensor["datatype"]])
        rows = flat.reshape(shape)
        with self.lock:
            self.rows += [row.tobytes() for row in rows]
        found = np.asarray(self.answer(rows), dtype=float)
        if fault == "nan":
            found = np.full_like(found, np.nan)
        if fault == "shape":
            found = found[:-1] if len(found) > 1 else np.concatenate([found, found])
        if fault == "text":
            await _reply(send, 200, None, text=b"<html>a proxy says hello</html>")
            return
        output: dict[str, Any] = {"name": "y", "shape": list(found.shape), "datatype": "FP64"}
        if BINARY in headers and request["outputs"][0].get("parameters", {}).get("binary_data"):
            output["parameters"] = {"binary_data_size": found.nbytes}
            head = json.dumps({"model_name": "m", "outputs": [output]}).encode()
            await _reply(send, 200, None, {BINARY: str(len(head))}, text=head + found.tobytes())
            return
        output["data"] = found.ravel().tolist()
        cut = fault == "cut"
        await _reply(send, 200, {"model_name": "m", "outputs": [output]}, cut=cut)


async def _reply(
    send: Any,
    status: int,
    told: Any,
    more: dict[str, str] | None = None,
    *,
    text: bytes | None = None,
    cut: bool = False,
) -> None:
    body = json.dumps(told).encode() if text is None else text
    headers = {"content-type": "application/json", "content-length": str(len(body)), **(more or {})}
    pairs = [(k.encode(), v.encode()) for k, v in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": body[: len(body) // 2] if cut else body})


@contextlib.contextmanager
def serving(served: Served) -> Iterator[Served]:
    """Serve on a free port of loopback, in a thread."""
    import uvicorn

    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        served.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        config = uvicorn.Config(served, log_level="critical", lifespan="off", ws="none", http="h11")
        config.timeout_graceful_shutdown = 1
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        try:
            while not server.started:
                time.sleep(0.005)
            yield served
        finally:
            server.should_exit = True
            thread.join(timeout=30)


def random_faults(share: float, kinds: tuple[str, ...] = KINDS, seed: int = 0) -> Any:
    """Faults of a share of the requests, each kind as often."""

    def fault(n: int) -> str | None:
        drawn = random.Random(seed * 1_000_003 + n)
        return drawn.choice(kinds) if drawn.random() < share else None

    return fault
