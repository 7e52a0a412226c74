"""Served models: the numbers of the model itself, whatever networks and servers do."""

from __future__ import annotations

import logging
import pickle
import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

import sensx_sc as sx
from sensx_sc.models import Model, Remote
from sensx_sc.models.model import Announces
from sensx_sc.models.remote_calls import RemoteError

if TYPE_CHECKING:
    from collections.abc import Iterator

pytest.importorskip("httpx")
pytest.importorskip("uvicorn")
MADE = SimpleNamespace(**runpy.run_path(str(Path(__file__).parent / "served.py")))
KINDS: tuple[str, ...] = MADE.KINDS
Served: Any = MADE.Served

N = 5
WEIGHTS = np.random.default_rng(0).normal(size=(N, 3))
HOW: dict[str, Any] = {
    "lower": 0, "upper": 1, "n_walks": 20, "n_samples": 40, "deltas": [0.1, 0.4, 1.0], "tau": 0.05,
    "target": 1,
}  # fmt: skip
SECRET = "s3cr3t-t0ken"


def answer(rows: np.ndarray) -> np.ndarray:
    """Row by row, so that a row's last bit does not depend on the others."""
    return np.stack([np.tanh((row[:, None] * WEIGHTS).sum(axis=0)) for row in rows.astype(float)])


@pytest.fixture
def served() -> Iterator[Any]:
    with MADE.serving(Served(answer)) as server:
        yield server


def remote(server: Any, **how: Any) -> Remote:
    # Patience is not what is tested: no wait between tries.
    return Remote(server.url, "m", **{"backoff": 0, "timeout": 20, "batch_size": 16, **how})


ROWS = torch.as_tensor(np.random.default_rng(1).random((50, N)))


@pytest.mark.parametrize("binary", [False, True], ids=["text", "bytes"])
@pytest.mark.parametrize("datatype", ["FP32", "FP64"])
@pytest.mark.parametrize("concurrency", [1, 4])
def test_outputs_are_the_models(served: Any, binary: bool, datatype: str, concurrency: int) -> None:
    served.datatype = datatype
    model = remote(served, binary=binary, concurrency=concurrency)
    dtype = torch.float32 if datatype == "FP32" else torch.float64
    assert model.dtypes == (dtype,)
    assert isinstance(model, Model)
    assert isinstance(model, Announces)
    assert sx.models.as_model(model) is model
    rows = ROWS.to(dtype)
    found = model.outputs(rows)
    assert found.dtype == torch.float64
    np.testing.assert_array_equal(found, answer(rows.numpy()))
    again = torch.cat([rows[:3], rows[:3]])  # a row that occurs twice is asked once
    before = len(served.rows)
    np.testing.assert_array_equal(model.outputs(again), answer(again.numpy()))
    assert len(served.rows) - before == 3


def test_explained_as_the_function_that_is_served(served: Any) -> None:
    x = ROWS[:3].numpy()
    found = sx.core.explain(x, remote(served), **HOW)
    expected = sx.core.explain(x, answer, **HOW)
    assert found.params["evaluator"] == "dense"
    assert found.status == expected.status
    np.testing.assert_array_equal(found.value, expected.value)
    np.testing.assert_array_equal(found.qoi, expected.qoi)
    assert (found.value > 0).all()


def test_thirty_per_cent_faults_change_nothing(served: Any, tmp_path: Path) -> None:
    x = ROWS[:3].numpy()
    expected = sx.core.explain(x, remote(served, batch_size=4), **HOW)
    served.seen.clear()
    served.fault = MADE.random_faults(0.3)
    model = remote(served, timeout=0.3, retries=20, concurrency=4, batch_size=4, cache=tmp_path)
    found = sx.core.explain(x, model, **HOW)
    for name in ("value", "mean", "std", "change", "shapley", "se", "qoi", "delta_star", "rank"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    assert found.status == expected.status
    faults = sum(served.seen.get(kind, 0) for kind in KINDS)
    assert all(served.seen.get(kind, 0) > 0 for kind in KINDS)
    assert 0.2 < faults / served.seen["infer"] < 0.4
    assert model.counts.retries == faults
    assert model.counts.requests == served.seen["infer"] + 1  # and the metadata


@pytest.mark.parametrize("kind", KINDS)
def test_each_fault_alone(served: Any, kind: str) -> None:
    served.fault = lambda n: kind if n % 3 else None
    patience = 0.2 if kind == "slow" else 20
    model = remote(served, timeout=patience, retries=6, concurrency=1)
    np.testing.assert_array_equal(model.outputs(ROWS), answer(ROWS.numpy()))
    assert served.seen[kind] > 3


def test_a_rerun_costs_nothing_even_without_the_server(tmp_path: Path) -> None:
    x = ROWS[:2].numpy()
    with MADE.serving(Served(answer)) as server:
        first = sx.core.explain(x, remote(server, cache=tmp_path), **HOW)
        asked = dict(server.seen)
        model = remote(server, cache=tmp_path)
        second = sx.core.explain(x, model, **HOW)
        assert server.seen == asked
        assert model.counts.requests == 0
        assert model.counts.from_cache > 500
        assert len(server.rows) - len(set(server.rows)) < 20  # those of the first look
    third = sx.core.explain(x, remote(server, cache=tmp_path), **HOW)  # it is gone
    for again in (second, third):
        np.testing.assert_array_equal(again.value, first.value)
        np.testing.assert_array_equal(again.qoi, first.qoi)


def test_a_run_that_stops_goes_on_where_it_was(served: Any, tmp_path: Path) -> None:
    served.fault = lambda n: "refuse" if 30 < n < 40 else None
    model = remote(served, cache=tmp_path)
    with pytest.raises(RemoteError, match="answered 403"):
        model.outputs(torch.as_tensor(np.random.default_rng(2).random((2000, N))))
    done = len(set(served.rows))
    assert 16 * 20 < done < 2000
    served.fault = lambda n: None
    served.rows.clear()
    rows = torch.as_tensor(np.random.default_rng(2).random((2000, N)))
    again = remote(served, cache=tmp_path)
    np.testing.assert_array_equal(again.outputs(rows), answer(rows.numpy()))
    assert again.counts.from_cache >= done - 8
    assert len(served.rows) <= 2000 - done + 8


def test_another_model_than_that_of_the_cache(served: Any, tmp_path: Path) -> None:
    remote(served, cache=tmp_path).outputs(ROWS[:9])
    served.answer = lambda rows: answer(rows) * 1.1
    changed = remote(served, cache=tmp_path)
    np.testing.assert_array_equal(changed.outputs(ROWS[:9]), answer(ROWS[:9].numpy()))
    with pytest.raises(ValueError, match="gives other answers than those in the cache"):
        changed.outputs(ROWS[:10])
    newer = remote(served, cache=tmp_path, version=2, input_name="x", datatype="FP64")
    np.testing.assert_array_equal(newer.outputs(ROWS[:9]), answer(ROWS[:9].numpy()) * 1.1)


@pytest.mark.parametrize("how", ["chance", "the others"])
def test_answers_that_depend_on_more_than_the_row(served: Any, how: str) -> None:
    rng = np.random.default_rng(0)

    def odd(rows: np.ndarray) -> np.ndarray:
        return answer(rows) + (rng.random() if how == "chance" else rows.mean())

    served.answer = odd
    with pytest.raises(ValueError, match="depend on chance, or on the other rows of the request"):
        remote(served).outputs(ROWS)


def test_what_goes_on_failing_is_said(served: Any) -> None:
    for kind, said in (
        ("error", r"in 3 tries; the last time it answered 500 \(.*broke"),
        ("cut", r"the last time the connection failed \(RemoteProtocolError\)"),
        ("shape", r"its answer is wrong: its output has shape \(\d+, 3\) with \d+ numbers for \d+"),
        ("text", "its answer is wrong: it is no answer of the protocol"),
        ("busy", "the last time it answered 429"),
    ):
        served.fault = lambda n, kind=kind: kind
        with pytest.raises(RemoteError, match=said):
            remote(served, retries=2).outputs(ROWS[:4])


def test_a_server_that_reads_no_bytes(served: Any) -> None:
    served.fault = lambda n: "error"
    with pytest.raises(RemoteError, match=r"answered 500 .* It was sent bytes, .* binary=False"):
        remote(served, retries=0, binary=True).outputs(ROWS[:4])


def test_a_model_that_answers_nan_is_believed_in_the_end(served: Any, tmp_path: Path) -> None:
    def gaps(rows: np.ndarray) -> np.ndarray:
        found = answer(rows)
        found[rows[:, 0] > 0.9] = np.nan
        return found

    served.answer = gaps
    model = remote(served, cache=tmp_path)
    rows = ROWS.clone()
    rows[7, 0] = 0.95
    np.testing.assert_array_equal(model.outputs(rows), gaps(rows.numpy()))
    asked = model.counts.rows
    model.outputs(rows)
    odd = int((rows[:, 0] > 0.9).sum())
    assert model.counts.rows - asked == odd  # NaN is no answer to keep


def test_the_cost_is_said_before_it_starts(served: Any, caplog: pytest.LogCaptureFixture) -> None:
    adata = sx.datasets.toy()[:4, :N].copy()
    model = remote(served, max_requests=10_000, feature_names=adata.var_names)
    with caplog.at_level(logging.INFO, logger="sensx_sc"):
        sx.tl.sensx(adata, model, **{**HOW, "upper": 10})
    rows = 4 * (20 * (N + 1) + 3 * 40)
    said = [record.message for record in caplog.records if "remote:" in record.message]
    assert said == [
        f"remote: {served.url}/v2/models/m will be asked for up to {rows} rows in {rows // 16} "
        "requests of 16 rows."
    ]
    assert model.counts.rows < 1.2 * rows + 200
    served.seen.clear()
    with pytest.raises(ValueError, match=r"up to 960 rows in 60 requests.*`max_requests` is 59"):
        sx.tl.sensx(adata, remote(served, max_requests=59), **{**HOW, "upper": 10})
    assert "infer" not in served.seen


def test_secrets_stay_secret(served: Any, caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    served.fault = lambda n: "error" if n % 2 else None
    adata = sx.datasets.toy()[:3, :N].copy()
    with caplog.at_level(logging.DEBUG):
        model = remote(
            served, headers={"Authorization": f"Bearer {SECRET}", "X-Id": "x"}, cache=tmp_path
        )
        sx.tl.sensx(adata, model, **{**HOW, "upper": 10})
        served.fault = lambda n: "error"
        with pytest.raises(RemoteError, match=r"while it held \*\*\*") as caught:
            remote(served, headers={"Authorization": f"Bearer {SECRET}"}, retries=1).outputs(ROWS)
    assert all(h["authorization"] == f"Bearer {SECRET}" for h in served.headers)
    adata.write_h5ad(tmp_path / "a.h5ad")
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) >= 2
    shown = [str(caught.value), repr(caught.value), repr(model), str(adata.uns["sensx"]["params"])]
    shown += [record.getMessage() for record in caplog.records]
    shown += [str(path) for path in files]
    assert not any(SECRET in text for text in shown)
    assert not any(SECRET.encode() in path.read_bytes() for path in files)


def test_it_travels_to_workers(served: Any, tmp_path: Path) -> None:
    model = remote(served, cache=tmp_path, headers={"X-Key": SECRET})
    model.outputs(ROWS[:3])
    copied = pickle.loads(pickle.dumps(model))  # noqa: S301
    np.testing.assert_array_equal(copied.outputs(ROWS), answer(ROWS.numpy()))
    assert served.headers[-1]["x-key"] == SECRET


def test_features_are_those_of_the_served_model(served: Any) -> None:
    with pytest.raises(ValueError, match="`feature_names` has 4 names; .* 'm' takes 5 features"):
        remote(served, feature_names=list("abcd"))
    model = remote(served, feature_names=list("abcde"), output_names=["u", "v", "w"])
    with pytest.raises(ValueError, match="position 0 holds 'e', the model expects 'a'"):
        sx.core.explain(ROWS[:1].numpy(), model, names=list("edcba"), **HOW)
    with pytest.raises(ValueError, match="1 missing: e; 1 unknown to the model: f"):
        sx.core.explain(ROWS[:1].numpy(), model, names=list("abcdf"), **HOW)
    with pytest.raises(ValueError, match="takes 5 features; the rows have 4"):
        sx.core.explain(ROWS[:1, :4].numpy(), remote(served), **HOW)
    r = sx.core.explain(
        ROWS[:1].numpy()[:, ::-1], sx.models.as_model(model, columns=list("edcba")),
        names=list("edcba"), **{**HOW, "target": "v"},
    )  # fmt: skip
    np.testing.assert_allclose(r.qoi, answer(ROWS[:1].numpy())[:, 1], rtol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"url": "ftp://host"}, "`url` must be such as 'https://host:8080'; got 'ftp://host'"),
        ({"url": "host:8080"}, "`url` must be such as"),
        ({"url": f"https://me:{SECRET}@host"}, "`url` must be without user, password and query"),
        ({"url": f"https://host/?key={SECRET}"}, "`url` must be without user, password and query"),
        ({"outputs": "odds"}, "`outputs` must be one of"),
        ({"batch_size": 0}, "`batch_size` must be a whole number of at least 1; got 0"),
        ({"batch_size": 2.5}, "`batch_size` must be a whole number"),
        ({"concurrency": True}, "`concurrency` must be a whole number of at least 1; got True"),
        ({"retries": -1}, "`retries` must be a whole number of at least 0; got -1"),
        ({"max_requests": 0}, "`max_requests` must be a whole number of at least 1; got 0"),
        ({"timeout": 0}, "`timeout` must be a positive number; got 0"),
        ({"timeout": None}, "`timeout` must be a positive number; got None"),
        ({"backoff": -1}, "`backoff` must be a number; got -1"),
        ({"rate_limit": float("nan")}, "`rate_limit` must be a positive number; got nan"),
        ({"datatype": "INT8", "input_name": "x"}, "has datatype 'INT8'; rows of FP32 or FP64"),
    ],
)
def test_arguments_that_are_refused(arguments: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match) as caught:
        Remote(**{"url": "http://127.0.0.1:9", "model": "m", **arguments})
    assert SECRET not in str(caught.value)


def test_a_server_that_is_not_there() -> None:
    with pytest.raises(RemoteError, match=r"could not be asked, in 2 tries; .*\(ConnectError\)"):
        Remote("http://127.0.0.1:9", "m", retries=1, backoff=0)


@pytest.mark.parametrize(
    ("metadata", "how", "match"),
    [
        (
            {"inputs": [{"name": "a"}, {"name": "b"}], "outputs": []}, {},
            "pass `input_name`: the served model has 'a', 'b'",
        ),
        (
            {"inputs": [{"name": "a"}], "outputs": [{"name": "u"}, {"name": "v"}]}, {},
            "pass `output_name`: the served model has 'u', 'v'",
        ),
        ({"inputs": [{"name": "a"}]}, {"input_name": "z"}, "`input_name` 'z' is not there; the"),
        ({"inputs": [{"name": "a", "datatype": "BYTES", "shape": [-1]}]}, {}, "datatype 'BYTES'"),
    ],
)  # fmt: skip
def test_served_models_of_other_tensors(
    served: Any, metadata: dict[str, Any], how: dict[str, Any], match: str
) -> None:
    served.metadata = metadata
    with pytest.raises(ValueError, match=match):
        remote(served, **how)


def test_a_name_that_is_not_served(served: Any) -> None:
    with pytest.raises(RemoteError, match="answered 404 .* Are `url`, `model` and `version` right"):
        Remote(served.url, "other", retries=0)


def test_credentials_over_plain_http_are_a_warning() -> None:
    with pytest.warns(UserWarning, match=r"`headers` go to 192\.0\.2\.1 over plain HTTP"):
        Remote(
            "http://192.0.2.1", "m", headers={"Authorization": SECRET}, input_name="x",
            datatype="FP32",
        )  # fmt: skip
