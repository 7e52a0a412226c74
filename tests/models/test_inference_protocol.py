"""Requests and answers of the Open Inference Protocol."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sensx_sc.models.inference_protocol import (
    BINARY_HEADER,
    AnswerError,
    Signature,
    decode,
    encode,
    signature,
)

ABOUT = Signature("x", "y", "FP64", 3)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)


@given(hnp.arrays(np.float64, hnp.array_shapes(min_dims=2, max_dims=2), elements=NUMBERS))
def test_numbers_arrive_to_the_last_bit(rows: np.ndarray) -> None:
    body, headers = encode(rows, ABOUT, binary=False)
    assert headers == {"Content-Type": "application/json"}
    (tensor,) = json.loads(body)["inputs"]
    assert tensor["shape"] == list(rows.shape)
    assert tensor["datatype"] == "FP64"
    np.testing.assert_array_equal(np.array(tensor["data"]).reshape(rows.shape), rows)
    answer = json.dumps({"outputs": [{**tensor, "name": "y"}]}).encode()
    np.testing.assert_array_equal(decode(answer, {}, len(rows), ABOUT), rows)


@pytest.mark.parametrize("datatype", ["FP32", "FP64"])
def test_numbers_as_bytes(datatype: str) -> None:
    rows = np.random.default_rng(0).random((4, 3))
    about = Signature("x", "y", datatype)
    body, headers = encode(rows, about, binary=True)
    length = int(headers[BINARY_HEADER])
    head = json.loads(body[:length])
    sent = np.frombuffer(body[length:], dtype=about.dtype).reshape(4, 3)
    np.testing.assert_array_equal(sent, rows.astype(about.dtype))
    assert head["inputs"][0]["parameters"] == {"binary_data_size": sent.nbytes}
    assert head["outputs"] == [{"name": "y", "parameters": {"binary_data": True}}]


def test_the_output_that_is_asked_for() -> None:
    first, second = np.arange(4, dtype="<i8"), np.array([[0.5], [1.5]], dtype="<f4")
    outputs: list[dict[str, Any]] = [
        {"name": "other", "shape": [4], "datatype": "INT64",
         "parameters": {"binary_data_size": first.nbytes}},
        {"name": "y", "shape": [2, 1], "datatype": "FP32",
         "parameters": {"binary_data_size": second.nbytes}},
    ]  # fmt: skip
    head = json.dumps({"outputs": outputs}).encode()
    body = head + first.tobytes() + second.tobytes()
    found = decode(body, {BINARY_HEADER: str(len(head))}, 2, ABOUT)
    np.testing.assert_array_equal(found, second)
    whole = {
        "outputs": [{"name": "z", "shape": [2, 2, 2], "datatype": "FP64", "data": [*range(8)]}]
    }
    unnamed = Signature("x", "", "FP64")
    np.testing.assert_array_equal(
        decode(json.dumps(whole).encode(), {}, 2, unnamed), np.arange(8.0).reshape(2, 4)
    )


@pytest.mark.parametrize(
    ("body", "match"),
    [
        (b"<html>", r"no answer of the protocol \(JSONDecodeError"),
        (b"[]", r"no answer of the protocol \(TypeError"),
        (b'{"outputs": []}', r"no answer of the protocol \(KeyError: 'y'"),
        (b'{"outputs": [{"name": "y"}]}', r"no answer of the protocol \(KeyError"),
        (b'{"outputs": [{"name": "y", "shape": [2], "data": ["a", "b"]}]}', "ValueError"),
        (
            b'{"outputs": [{"name": "y", "shape": [3, 1], "data": [1, 2, 3]}]}',
            r"shape \(3, 1\) with 3 numbers for 2 rows",
        ),
        (
            b'{"outputs": [{"name": "y", "shape": [2, 2], "data": [1, 2, 3]}]}',
            r"shape \(2, 2\) with 3 numbers for 2 rows",
        ),
        (b'{"outputs": [{"name": "y", "shape": [], "data": [1]}]}', r"shape \(\) with 1 numbers"),
    ],
)
def test_what_is_no_answer(body: bytes, match: str) -> None:
    with pytest.raises(AnswerError, match=match):
        decode(body, {}, 2, ABOUT)


def test_nan_is_a_number_here() -> None:
    body = b'{"outputs": [{"name": "y", "shape": [2, 1], "data": [NaN, 1.0]}]}'
    assert np.isnan(decode(body, {}, 2, ABOUT)[0, 0])


def test_what_a_server_says_of_a_model() -> None:
    told = {
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 7]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 2]}],
    }
    assert signature(told) == Signature("x", "y", "FP32", 7)
    assert signature(told, datatype="FP64").dtype == np.float64
    told["inputs"][0]["shape"] = [-1, -1]
    assert signature(told).n_features is None
    assert signature({}, input_name="a", datatype="FP32") == Signature("a", "", "FP32", None)
