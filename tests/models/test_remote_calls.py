"""Addresses, and what is shown of calls."""

from __future__ import annotations

import pytest

from sensx_sc.models.remote_calls import Calls, Counts, address_of


@pytest.mark.parametrize(
    ("url", "model", "version", "address"),
    [
        ("https://h:8080", "m", None, "https://h:8080/v2/models/m"),
        ("https://h/", "a b/c", None, "https://h/v2/models/a%20b%2Fc"),
        ("http://h/serving/v2", "m", "3", "http://h/serving/v2/models/m/versions/3"),
        ("http://[::1]:9/", "m", None, "http://[::1]:9/v2/models/m"),
    ],
)
def test_addresses(url: str, model: str, version: str | None, address: str) -> None:
    assert address_of(url, model, version, None) == address


@pytest.mark.parametrize(
    ("url", "secrets"),
    [("http://localhost:1", True), ("http://127.0.0.9", True), ("https://h", True),
     ("http://h", False)],
)  # fmt: skip
def test_secrets_may_go_where_nobody_listens(url: str, secrets: bool) -> None:
    address_of(url, "m", None, {"Authorization": "x"} if secrets else {})


def test_counts_add_up() -> None:
    calls = Calls(
        "https://h/v2/models/m", headers={"Authorization": "Bearer abc"}, timeout=1, retries=0,
        backoff=0, rate_limit=None, verify=True,
    )  # fmt: skip
    calls.count(requests=2, rows=7)
    calls.count(requests=1)
    assert calls.counts == Counts(requests=3, rows=7)
    assert repr(calls) == "Calls('https://h/v2/models/m')"
