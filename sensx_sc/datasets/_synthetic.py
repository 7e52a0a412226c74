"""The paper's four synthetic classification problems."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    import numpy as np
    from anndata import AnnData

Kind = Literal["xor", "orange_skin", "nonlinear_additive", "switch"]
N_FEATURES = 10


def synthetic(kind: Kind, n_obs: int = 100_000, *, seed: int = 0) -> AnnData:
    r"""Draw one of the paper's synthetic sets, in which the relevant features are known.

    Features are standard normal, x ~ N(0, I_10), and P(class 1) = 1 / (1 + exp(logit)) with

    - ``"xor"``: logit = x1 x2
    - ``"orange_skin"``: logit = x1^2 + x2^2 + x3^2 + x4^2 - 4
    - ``"nonlinear_additive"``: logit = -100 sin(0.2 x1) + \|x2\| + x3 + exp(-x4) - 2.4
    - ``"switch"``: x10 ~ N(+3, 1) or N(-3, 1) with equal probability; orange skin on x1..x4 for
      the former, nonlinear additive on x5..x8 for the latter

    and a sample's label is the likelier class (paper, appendix F.1).

    Parameters
    ----------
    kind
        Which of the four.
    n_obs
        Number of samples; the paper has 100,000.
    seed
        Non-negative integer; the same seed gives the same samples.

    Returns
    -------
    AnnData (n_obs, 10), features ``x1`` to ``x10``, with

    - ``.X``: float32
    - ``.obs["label"]``: categorical "0", "1", the likelier class
    - ``.obs["prob_1"]``: P(class 1)
    - ``.obs["branch"]``: for "switch": categorical "nonlinear_additive" or "orange_skin"
    - ``.obsm["relevant"]``: bool (n_obs, 10), the features on which a sample's logit depends; for
      "switch" with x10, which picks the branch
    - ``.var["relevant"]``: features relevant to any sample
    - ``.uns["synthetic"]``: ``kind`` and ``seed``

    Raises
    ------
    ValueError
        If ``kind`` is none of the four, or ``n_obs`` or ``seed`` is not such a number.

    Examples
    --------
    >>> import sensx_sc as sx
    >>> adata = sx.datasets.synthetic("xor", n_obs=500, seed=1)
    >>> adata.var_names[adata.var["relevant"]].tolist()
    ['x1', 'x2']

    References
    ----------
    Chen et al., Learning to explain: an information-theoretic perspective on model interpretation,
    ICML 2018.
    """
    import numpy as np
    import pandas as pd
    from anndata import AnnData

    if kind not in get_args(Kind):
        msg = f"`kind` must be one of {', '.join(map(repr, get_args(Kind)))}; got {kind!r}."
        raise ValueError(msg)
    _check_whole("n_obs", n_obs, least=1)
    _check_whole("seed", seed, least=0)
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n_obs, N_FEATURES))
    orange = rng.random(n_obs) < 0.5
    if kind == "switch":
        X[:, 9] += np.where(orange, 3.0, -3.0)
    X = X.astype(np.float32)
    logit, relevant = _truth(kind, X.astype(np.float64), orange)
    obs = pd.DataFrame(
        {
            # A logit of exactly 0 is a tie and counts as class 0.
            "label": pd.Categorical.from_codes((logit < 0).astype(int), ["0", "1"]),
            "prob_1": np.exp(-np.logaddexp(0, logit)),
        },
        index=[str(i) for i in range(n_obs)],
    )
    if kind == "switch":
        branches = ["nonlinear_additive", "orange_skin"]
        obs["branch"] = pd.Categorical.from_codes(orange.astype(int), branches)
    names = [f"x{j}" for j in range(1, N_FEATURES + 1)]
    var = pd.DataFrame({"relevant": relevant.any(axis=0)}, index=names)
    adata = AnnData(X=X, obs=obs, var=var, obsm={"relevant": relevant})
    adata.uns["synthetic"] = {"kind": kind, "seed": int(seed)}
    return adata


def _truth(kind: Kind, X: np.ndarray, orange: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Log-odds of class 0 (n_obs,) and the features they depend on, bool (n_obs, 10)."""
    import numpy as np

    relevant = np.zeros(X.shape, dtype=bool)
    if kind == "xor":
        relevant[:, :2] = True
        return X[:, 0] * X[:, 1], relevant
    if kind != "switch":
        relevant[:, :4] = True
        return (_orange_skin if kind == "orange_skin" else _additive)(X[:, :4]), relevant
    relevant[:, :4] = orange[:, None]
    relevant[:, 4:8] = ~orange[:, None]
    relevant[:, 9] = True
    return np.where(orange, _orange_skin(X[:, :4]), _additive(X[:, 4:8])), relevant


def _orange_skin(x: np.ndarray) -> np.ndarray:
    return (x**2).sum(axis=1) - 4


def _additive(x: np.ndarray) -> np.ndarray:
    import numpy as np

    return -100 * np.sin(0.2 * x[:, 0]) + np.abs(x[:, 1]) + x[:, 2] + np.exp(-x[:, 3]) - 2.4


def _check_whole(name: str, value: object, *, least: int) -> None:
    import numpy as np

    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        msg = f"`{name}` must be an integer of at least {least}; got {value!r}."
        raise ValueError(msg)
