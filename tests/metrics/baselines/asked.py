"""Questions to baselines, for the tests beside this file."""

from __future__ import annotations

from typing import Any

import numpy as np

from sensx_sc.core.options import Options
from sensx_sc.core.preparation import prepare
from sensx_sc.metrics.baselines import Question
from sensx_sc.metrics.explained import Explained

N = 8
X = np.random.default_rng(0).random((3, N))
BACKGROUND = np.random.default_rng(1).random((10, N))


def asked(model: Any, *, qoi: Any = "auto", target: Any = (0, 0, 0), **how: Any) -> Question:
    """The question how a model answers three inputs."""
    run = prepare(
        X, model, lower=0, upper=1, mask=None, qoi=qoi, deltas="auto", n_walks=20,
        design="balanced", out_of_domain="raise", names=None, batch_size="auto", device="cpu",
        options=Options(),
    )  # fmt: skip
    cells = Explained(run, X, ("a", "b", "c"), np.asarray(target), np.ones(3))
    numbers: dict[str, Any] = {
        "n_steps": 100, "n_samples": None, "n_permutations": 4, "max_rows": 10**8,
        "max_bytes": 1e9, "seed": 0,
    }  # fmt: skip
    return Question(cells, BACKGROUND, **(numbers | how))
