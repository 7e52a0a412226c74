"""Rows of the paper's checklist: what it has, what came out here, and whether that agrees.

Numbers are read from the tables in notebooks/*/results, so that they cannot drift; a row whose
table is not there says so. The page docs/reproduction.md shows them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Callable

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
FULL, SMALLER, DIFFERS = "reproduced", "reproduced smaller", "differs"
NOT_HERE, NOT_RUN = "not possible here", "not run yet"
STATES = (FULL, SMALLER, DIFFERS, NOT_HERE, NOT_RUN)


@dataclass(frozen=True)
class Row:
    """A row: its name in the checklist, what it is, the paper's figure, ours, the state."""

    name: str
    what: str
    paper: str
    here: str
    state: str


def read(name: str) -> pd.DataFrame:
    """A table of results, such as ``vision/results/maps``."""
    return pd.read_csv(NOTEBOOKS / f"{name}.csv")


def told(
    name: str, what: str, paper: str, found: Callable[[], tuple[str, bool]], state: str = SMALLER
) -> Row:
    """A row from tables: what they say and whether that is what the paper says.

    ``state`` is that of a row that agrees; where a table is missing the row says which.
    """
    try:
        here, agrees = found()
    except FileNotFoundError as missing:
        path = Path(missing.filename).relative_to(NOTEBOOKS).as_posix()
        return Row(name, what, paper, f"`notebooks/{path}` is missing", NOT_RUN)
    return Row(name, what, paper, here, state if agrees else DIFFERS)


def number(value: float, digits: int = 2) -> str:
    return f"{value:.{digits}f}"


def band(values: Any, digits: int = 2) -> str:
    """Mean, smallest and largest."""
    values = np.asarray(values, dtype=float)
    low, high = number(values.min(), digits), number(values.max(), digits)
    return f"{number(values.mean(), digits)} ({low} to {high})"


# ---- S: the synthetic sets (notebooks/synthetic)


def synthetic() -> list[Row]:
    def accuracy(kind: str, method: str, k: int, qoi: str = "probability") -> pd.Series:
        table = read("synthetic/results/accuracy")
        found = table.query("set == @kind and method == @method and k == @k and qoi == @qoi")
        return found["accuracy"]

    def switch() -> tuple[str, bool]:
        two, five = (accuracy("switch", "value", k) for k in (2, 5))
        change = [accuracy("switch", "change", k).mean() for k in (2, 5)]
        here = f"top 2 {band(two)}, top 5 {band(five)}; `change` {change[0]:.2f}, {change[1]:.2f}"
        return here, two.mean() > 0.9 and five.mean() < 0.2

    def gradients() -> tuple[str, bool]:
        methods = {"zero": "ig_zero", "mean": "ig_mean", "random": "ig_random"}
        found = {name: accuracy("switch", method, 2) for name, method in methods.items()}
        here = ", ".join(f"{name} {band(a)}" for name, a in found.items())
        ours = accuracy("switch", "value", 2).min()
        return here, all(a.max() < ours for a in found.values())

    def shapley(kind: str, k: int) -> tuple[str, pd.Series, pd.Series]:
        kernel, permutation = (accuracy(kind, m, k) for m in ("kernel_shap", "permutation_shap"))
        told = f"KernelSHAP {kernel.mean():.2f}, PermutationExplainer {permutation.mean():.2f}"
        return told, kernel, permutation

    def samplers() -> tuple[str, bool]:
        here, kernel, permutation = shapley("switch", 2)
        ours = accuracy("switch", "value", 2).mean()
        return here, max(kernel.mean(), permutation.mean()) < ours

    def other(kind: str, k: int, least: float) -> Callable[[], tuple[str, bool]]:
        def found() -> tuple[str, bool]:
            ours, (theirs, kernel, _) = accuracy(kind, "value", k), shapley(kind, k)
            here = f"`value` {band(ours)}; {theirs}"
            below = kernel.mean() <= ours.mean() if least < 1 else kernel.mean() >= least
            return here, ours.mean() >= least and below

        return found

    def curves(methods: list[str]) -> Callable[[], tuple[str, bool]]:
        def found() -> tuple[str, bool]:
            table = read("synthetic/results/curves")
            table = table[table["method"].isin(methods)]
            of = table.groupby(["set", "method", "k"])["accuracy"]
            spread = (of.max() - of.min()).reset_index(name="by")
            moved = spread[spread["by"] > 0.05]
            where = ", ".join(
                f"{row.set.replace('_', ' ')} {row.method} top {row.k}"
                for row in moved.itertuples()
            )
            here = f"largest change of an accuracy over all budgets {spread['by'].max():.3f}"
            here += f"; above .05: {where}" if where else "; none above .05"
            return here, bool((moved["set"] == "nonlinear_additive").all())

        return found

    def star() -> tuple[str, bool]:
        table = read("synthetic/results/delta_star").query("qoi == 'probability'")
        one = table["n_inputs"] * (table["delta_star"] == 1)
        share = one.groupby(table["set"]).sum() / table.groupby("set")["n_inputs"].sum()
        lowest = table.query("set == 'orange_skin'")["delta_star"].min()
        rest = share.drop("orange_skin")
        here = (
            f"1 for {rest.min():.0%} of XOR, additive and Switch; orange skin: 1 for "
            f"{share['orange_skin']:.0%}, down to {lowest:g}"
        )
        return here, bool(rest.min() == 1 and share["orange_skin"] > 0.5)

    def samples() -> tuple[str, bool]:
        table = read("synthetic/results/delta_star_curves").query("set == 'orange_skin'")
        spread = {}
        for n, part in table.groupby("n"):
            spread[n] = float(np.repeat(part["delta_star"], part["n_inputs"]).std())
        few, many = min(spread), max(spread)
        here = (
            f"orange skin, SD between inputs: {spread[few]:.3f} with {few} samples, "
            f"{spread[many]:.3f} with {many}"
        )
        return here, spread[many] <= spread[few] * 1.25

    try:
        asked = read("synthetic/results/accuracy").query("method == 'value'")["n"].min()
    except FileNotFoundError:
        asked = 0
    state = FULL if asked >= 1000 else SMALLER
    return [
        told("S1", "Switch, `value`", "top 2 .95, top 5 below .13", switch, state),
        told("S2", "Switch, Integrated Gradients, top 2", "at best .58 (random reference)",
             gradients, state),
        told("S3", "Switch, Shapley estimators, top 2", "below these", samplers, state),
        told("S4", "XOR, top 2", "1.00; KernelSHAP 1.00", other("xor", 2, 1), state),
        told("S5", "Orange skin, top 4", "near 1; KernelSHAP below", other("orange_skin", 4, 0.95),
             state),
        told("S6", "Nonlinear additive, top 4", "near 1; KernelSHAP below",
             other("nonlinear_additive", 4, 0.9), state),
        told("S7", "accuracy against walks and samples (D1)", "flat but for additive, top 4",
             curves(["value"])),
        told("S8", "accuracy of Integrated Gradients against steps (D2)", "flat",
             curves(["ig_zero", "ig_mean", "ig_random"])),
        told("S9", "δ\\* (D3)", "1; orange skin near 1 with a tail", star, state),
        told("S10", "spread of δ\\* against samples (D3)", "falls; only orange skin has any",
             samples),
    ]  # fmt: skip


# ---- C, B: single cells (notebooks/single_cell)

PBMC = "single_cell/results/pbmc"


def single_cell() -> list[Row]:
    def means() -> pd.DataFrame:
        table = read(f"{PBMC}/auc").astype({"scale": str})
        return table.groupby(["scale", "direction", "cell_type", "method"])["auc"].mean().unstack()

    def nets() -> tuple[str, bool]:
        table = read(f"{PBMC}/training")
        return f"{len(table)} nets, F1 {band(table['f1'])}", bool(table["f1"].median() > 0.5)

    def maps() -> tuple[str, bool]:
        table = read(f"{PBMC}/delta_star")
        counts = table["sensx_status"].value_counts()
        told = ", ".join(f"{n} {status}" for status, n in counts.items())
        return f"{len(table)} cells: {told}", True

    def stars() -> tuple[str, bool]:
        table = read(f"{PBMC}/delta_star").query("sensx_delta_star > 0")
        middle = table.groupby("cell_type")["sensx_delta_star"].median()
        ratio = middle.max() / middle.min()
        here = f"medians {middle.min():.2f} to {middle.max():.2f}, a factor of {ratio:.1f}"
        return here, ratio > 10

    def domain() -> tuple[str, bool]:
        of = read(f"{PBMC}/domains").groupby("statistic")[["spearman", "top50"]].mean()
        here = "; ".join(
            f"`{s}`: Spearman {of.loc[s, 'spearman']:.4f}, {of.loc[s, 'top50']:.0%} of the top 50"
            for s in ("value", "change")
        )
        return here, of.loc["value", "spearman"] > 0.99

    def convergence() -> tuple[str, bool]:
        table = read(f"{PBMC}/convergence").query("n_walks == 200 and statistic == 'value'")
        of = table.groupby("design")[["successive", "overlap"]].mean()
        here = (
            f"200 independent walks: {of.loc['uniform', 'successive']:.4f}, but halves share "
            f"{of.loc['uniform', 'overlap']:.0%} of the top 50; balanced: "
            f"{of.loc['balanced', 'overlap']:.0%}"
        )
        return here, of.loc["uniform", "successive"] > 0.99

    def areas(scale: str) -> Callable[[], tuple[str, bool]]:
        def found() -> tuple[str, bool]:
            table = means().loc[scale]
            ours = ("value", "change", "random")
            rivals = [m for m in table.columns if m not in ours and table[m].notna().all()]
            top, bottom = table.loc["top"], table.loc["bottom"]
            first = top["value"] < top[rivals].min(axis=1)
            last = bottom["value"] > bottom[rivals].max(axis=1)
            here = (
                f"top {band(top['value'])}, bottom {band(bottom['value'])}; best of "
                f"{len(rivals)} others in {first.sum()} and {last.sum()} of {len(top)} types"
            )
            least = bool(top["value"].max() < 0.1) if scale == "1" else True
            return here, bool(first.all() and last.all()) and least

        return found

    def grids() -> tuple[str, bool]:
        table = read(f"{PBMC}/b1").query("grid == 'linear' and tau == 0.1")
        same = bool((table["status"] == "left_censored").all())
        counts = table["status"].value_counts()
        told = ", ".join(f"{n} of {len(table)} {status}" for status, n in counts.items())
        low, high = table["delta_star"].min(), table["delta_star"].max()
        return f"linear grids: {told}, δ\\* {low:.2f} to {high:.2f}", same

    def samples(name: str) -> Callable[[], tuple[str, bool]]:
        def found() -> tuple[str, bool]:
            wide = read(f"{PBMC}/{name}").pivot_table(
                index=["cell", "size", "tau"], columns="n_samples", values="delta_star"
            )
            same = float((wide[100] == wide[5000]).mean())
            cells = wide.index.get_level_values("cell").nunique()
            return f"{same:.1%} ({cells} cells)", same > 0.9

        return found

    return [
        told("C1", "a 250-50 net for each type", "14 types of the lung atlas", nets),
        told("C2", "sure cells explained on 50 logarithmic scales", "14,000 cells", maps),
        told("C3", "δ\\* by type (D10)", "up to two orders of magnitude between types", stars),
        told("C4", "domain [0, 10] against the data's", "the same practical result", domain),
        told("C5", "convergence of ranks (E2)", "near 1 after 200 walks", convergence),
        told("C6", "areas at δ\\* (figure 5)",
             "top .53 to .83, bottom .98 to 1.00; best of all in 14 of 14 types",
             areas("delta_star")),
        told("C7", "areas at δ = 1 (D11)", "top .00; best", areas("1")),
        told("B1", "δ\\* on linear and logarithmic grids (B1)",
             "linear: below the first point, flagged", grids),
        told("B2", "n_s = 100 gives the δ\\* of 5,000, one type (B2)", "97.5 %", samples("b2")),
        told("B3", "the same, all types (B3 to B6)", "94 to 99 %", samples("b3")),
    ]  # fmt: skip


# ---- what is proved, defined or left open: held by tests

TESTED = (
    ("P1", "linear models: `value` is the size of the weight, from one walk", "exact",
     "core/test_acceptance.py::test_linear_is_exact_from_one_walk"),
    ("P2", "additive models: a mean over endpoints, then the derivative", "closed forms",
     "core/test_acceptance.py::test_sum_of_squares",
     "core/test_acceptance.py::test_friedman"),
    ("P3", "smooth models: the derivative as δ goes to 0", "limit",
     "core/test_invariants.py::test_small_scales_give_the_gradient"),
    ("P4", "C never increases with δ", "property",
     "core/test_calibration.py::test_c_is_the_range_of_the_envelope_strictly_above"),
    ("P5", "δ\\* of a grid is within one step of the continuous one (from either side, since C "
     "looks strictly above δ)", "closed form",
     "core/test_calibration.py::test_refinement_finds_the_continuous_transition",
     "core/test_acceptance.py::test_delta_star_refined_to_the_continuous_transition"),
    ("P6", "enough samples find the population's δ\\* (Dvoretzky, Kiefer and Wolfowitz)",
     "simulation at the bound",
     "core/test_acceptance.py::test_enough_samples_find_the_scale_of_the_population"),
    ("P7", "dummy, symmetry, implementation invariance; no completeness, but `shapley` has it",
     "exact",
     "core/test_invariants.py::test_a_dead_feature_is_exactly_zero",
     "core/test_invariants.py::test_permuting_features_permutes_results",
     "core/test_groups.py::test_models_of_known_structure_give_the_numbers_of_rows_written_out",
     "core/test_invariants.py::test_completeness"),
    ("A1", "any scalar of any model; one of several outputs", "definition",
     "models/test_qoi.py::test_each_quantity",
     "core/test_targets.py::test_results_are_those_of_separate_calls"),
    ("A2", "neighbourhoods: x at 0, the domain at 1, nested", "equation 1",
     "core/test_domain.py::test_reach_is_equation_1"),
    ("A3", "the envelope: 1st and 99th percentiles on a grid", "definition",
     "core/test_kinds.py::test_the_envelope_is_that_of_its_points",
     "core/test_calibration.py::test_envelope_bounds_are_those_order_statistics"),
    ("A4", "the rule for δ\\*, with statuses for what it leaves open", "equation 2",
     "core/test_calibration.py::test_status_and_delta_star_are_those_of_the_table",
     "core/test_acceptance.py::test_delta_star"),
    ("A5", "walks, elementary effects, ranks, ties by index", "equations 3 and 4",
     "core/test_walks.py::test_walks_are_those_of_the_definition",
     "core/test_statistics.py::test_ranks_break_ties_by_index_and_leave_nan_out"),
    ("A6", "groups of features", "equation A14",
     "core/test_groups.py::test_every_walk_step_by_step_from_the_definition",
     "core/test_group_norms.py::test_a14_of_two_features_against_its_integral"),
    ("A7", "batches change nothing; memory does not grow with walks", "equal",
     "core/test_explain.py::test_batch_size_changes_nothing",
     "core/test_bounded_work.py::test_no_batch_is_larger_than_asked"),
    ("A8", "perturbation of the first and the last k, normalised area", "protocol A.7",
     "metrics/test_curves.py::test_curves_are_those_of_the_definition",
     "metrics/test_perturbation.py::test_area_by_trapezoids"),
    ("A9", "δ\\* = 0 is said; inputs outside the domain are refused", "diagnostics",
     "core/test_explain.py::test_insensitive_inputs_have_no_attribution",
     "core/test_domain.py::test_inputs_outside_are_named_with_values_and_bounds"),
    ("X1", "quasi-random designs: balanced blocks (one is worth 15 to 550 times its walks with "
     "thousands of genes) and Sobol points", "future work",
     "core/test_sampling.py::test_the_law_is_that_of_independent_walks",
     "core/test_sampling.py::test_balanced_blocks_save_walks"),
    ("X2", "groups of unequal sizes: two more norms, `change`, sets that overlap, hierarchies",
     "future work",
     "core/test_group_norms.py::test_change_and_shapley_of_linear_models_in_closed_form",
     "core/test_groups.py::test_within_is_the_run_of_the_refined_partition"),
    ("X3", "counts, levels, categories, covariates", "future work",
     "core/test_kinds.py::test_main_effects_in_closed_form",
     "core/test_kinds.py::test_every_walk_step_by_step_from_the_definition"),
)  # fmt: skip
"""Rows that no run can settle: their tests, under tests/."""


def tested(letter: str) -> list[Row]:
    """Rows P, A or X, with the tests that hold them."""
    rows = []
    for name, what, paper, *tests in TESTED:
        if name.startswith(letter):
            here = ", ".join(f"`{test}`" for test in tests)
            rows.append(Row(name, what, paper, here, "beyond the paper" if letter == "X" else FULL))
    return rows
