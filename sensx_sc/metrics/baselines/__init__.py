"""Other methods of attribution, through their own libraries, under the same question."""

from __future__ import annotations

from sensx_sc.metrics.baselines.captum_methods import (
    deeplift_shap,
    gradient_shap,
    ig_expected,
    ig_mean,
    ig_own,
    ig_random,
    ig_zero,
)
from sensx_sc.metrics.baselines.question import Answer, NotApplicableError, Question
from sensx_sc.metrics.baselines.shap_methods import kernel_shap, permutation_shap

BASELINES = {
    function.__name__: function
    for function in (
        ig_zero,
        ig_mean,
        ig_random,
        ig_expected,
        ig_own,
        deeplift_shap,
        gradient_shap,
        kernel_shap,
        permutation_shap,
    )
}
"""Functions from a question to an answer, by name."""

__all__ = ["BASELINES", "Answer", "NotApplicableError", "Question"]
