"""Parts of a job array."""

from __future__ import annotations

import pytest

from sensx_sc.scale.shard import Shard, parse_shard


@pytest.mark.parametrize(
    ("text", "shard"), [(None, None), ("1/1", Shard(1, 1)), ("3/8", Shard(3, 8))]
)
def test_shards(text: str | None, shard: Shard | None) -> None:
    assert parse_shard(text) == shard
    assert text is None or str(shard) == text


@pytest.mark.parametrize(
    "text", ["0/4", "5/4", "1", "a/b", "1/0", "-1/3", "1/3/2", " 1/2", 1, (1, 2)]
)
def test_anything_else_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="`shard` must be 'i/n' with i from 1 to n"):
        parse_shard(text)


@pytest.mark.parametrize("n", [1, 2, 3, 7])
def test_each_block_is_in_one_shard(n: int) -> None:
    for place in range(20):
        assert sum(Shard(i + 1, n).has(place) for i in range(n)) == 1
