"""XGBoost's boosters themselves, without its scikit-learn estimators."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sensx_sc.models.sklearn_estimator import SklearnModel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sensx_sc.models.model import OutputKind

_CLASSIFIES = ("binary:logistic", "multi:softprob", "multi:softmax")


def is_xgboost_booster(model: object) -> bool:
    """Whether an object is a ``xgboost.Booster``."""
    kind = type(model)
    return kind.__name__ == "Booster" and kind.__module__.partition(".")[0] == "xgboost"


def xgboost_booster(
    booster: Any,
    *,
    outputs: OutputKind | None = None,
    feature_names: Sequence[object] | None = None,
    output_names: Sequence[object] | None = None,
) -> SklearnModel:
    """A ``xgboost.Booster`` as the estimator that XGBoost itself makes of it.

    Classes of ``binary:logistic`` and ``multi:*`` objectives are ``"0"``, ``"1"``, ...; outputs
    of other objectives are values. All trees count, as in ``Booster.predict``: for the best
    round of early stopping, pass ``booster[: booster.best_iteration + 1]``.
    """
    from xgboost import XGBClassifier, XGBRegressor

    config = json.loads(booster.save_config())
    objective = config["learner"]["objective"]["name"]
    estimator = (XGBClassifier if objective in _CLASSIFIES else XGBRegressor)()
    estimator.load_model(bytearray(booster.save_raw("ubj")))
    estimator.get_booster().set_attr(best_iteration=None, best_score=None)
    made = SklearnModel(
        estimator, outputs=outputs, feature_names=feature_names, output_names=output_names
    )
    made.name = "xgboost Booster"
    return made
