"""The claims of the shipped suites: rows make each hold, fail and stay open, and each can fail."""

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from itertools import product
from typing import Any

import pandas as pd
import pytest
from helpers.tables import IDENTITY, frame, row

from mssbench.analysis import claims
from mssbench.analysis.claims import ClaimResult, ClaimVerdict
from mssbench.records.measurement import Status, uniform
from mssbench.results.labels import METHOD, with_labels
from mssbench.suite import claims as statements
from mssbench.suite import shipped, suite
from mssbench.suite.claims import Claim

HOLDS, FAILS, UNMEASURED = ClaimVerdict
SINGULAR = re.compile(r"wishart\(ratio=0\.|pooled_features\(positions=(49|196),")
ERRORS = ("root_error", "root_mae", "residual", "gradient_error")


@cache
def tables(name: str) -> list[dict[str, Any]]:
    """The [[claim]] tables of a suite. They name the tests, so its cells are not expanded here."""
    return list(tomllib.loads(suite.find(name).read_text("utf-8")).get("claim", []))


SUITES = [name for name in shipped.of_runs() if tables(name)]
PAPERS = [name for name in SUITES if name.startswith("paper_")]
# Suites of many cells or of many claims of the same kind.
MANY = ("gpu_large", "gpu_small", "paper_fast_root_2022", "paper_lin_maji_2017")
CLAIMS = [(name, i) for name in SUITES for i in range(len(tables(name)))]


def each(chosen: Iterable[tuple[str, int]]) -> pytest.MarkDecorator:
    """Run a test for each of these claims; by default, for the first of each kind of a suite.

    Claims are of one kind if they compare the same value by the same relation. The others, and
    those of suites with many cells, are tested by `.ci/slow`.
    """
    cases = []
    met = set()
    for name, i in chosen:
        claim = claim_of(name, i)
        kind = (name, claim.value, claim.relation, claim.over, bool(claim.where))
        spared = name in MANY or kind in met
        met.add(kind)
        cases.append(pytest.param(name, i, marks=pytest.mark.exhaustive if spared else ()))
    return pytest.mark.parametrize(("name", "number"), cases)


def claim_of(name: str, number: int) -> Claim:
    return statements.read(tables(name))[number]


def names_device(claim: Claim, device: str) -> bool:
    return any(f"device == '{device}'" in text for text in claim.conditions.values())


def device_of(name: str, claim: Claim) -> str:
    return "cuda" if name.startswith("gpu_") or names_device(claim, "cuda") else "cpu"


@cache
def planned(name: str, device: str) -> pd.DataFrame:
    """The rows that a run of the suite would have, none of them measured."""
    cells = suite.load(suite.find(name), auto=device).cells
    rows = [
        measurement.row(**IDENTITY)
        for cell in cells
        for measurement in uniform(cell, Status.INTERRUPTED, "")
    ]
    return with_labels(frame(*rows))


@cache
def unmeasured(name: str, number: int) -> pd.DataFrame:
    """Of those rows the ones that a claim is about, on the device that it is about."""
    claim = claim_of(name, number)
    run = planned(name, device_of(name, claim))
    rows = [claim.rows(key, run) for key in claim.conditions]
    return run.loc[sorted({i for each in rows for i in each.index})]


def planted(claim: Claim, run: pd.DataFrame, **figures: float) -> pd.DataFrame:
    """The run with a figure in every row of a side, by the side's key: left=1.0, right=2.0."""
    run = run.copy()
    for key, figure in figures.items():
        measure(claim, run, claim.rows(key, run).index, figure)
    return run


def measure(claim: Claim, run: pd.DataFrame, rows: Any, figure: float) -> None:
    """Write a figure into these rows of the run, right to all digits if that is asked for."""
    run.loc[rows, "status"] = str(Status.OK)
    run.loc[rows, ["root_error", "gradient_error"]] = 1e-12
    if claim.value == "seconds_median":
        run.loc[rows, ["seconds_low", "seconds_high"]] = figure
    run.loc[rows, claim.value] = figure


def judged(name: str, number: int, run: pd.DataFrame) -> ClaimResult:
    return claims.judge_claims([tables(name)[number]], run)[0]


def by_far(claim: Claim, *, holding: bool) -> dict[str, float]:
    """Figures of both sides with which a comparison holds, or fails, by a factor of two.

    Written from what the table of the claim means: factor * left < right, left > factor * right.
    """
    right = claim.right if isinstance(claim.right, float | int) else 3.0
    smaller = holding == claim.relation.startswith("<")
    limit = right / claim.factor if claim.relation.startswith("<") else right * claim.factor
    left = limit / 2 if smaller else limit * 2
    return {"left": left} | ({"right": right} if isinstance(claim.right, str) else {})


def series(claim: Claim, run: pd.DataFrame, off: float, *, leave_out: int = 0) -> pd.DataFrame:
    """The run with each published figure in its rows, times 1 + off, but for the last ones."""
    run = run.copy()
    for entry in claim.entries[: len(claim.entries) - leave_out]:
        rows = claim.rows("where", run)
        for column, value in entry.items():
            rows = rows if column == "figure" else rows[rows[column] == value]
        measure(claim, run, rows.index, entry["figure"] * (1 + off))
    return run


# Every claim of every suite


@pytest.mark.sampled(8)
@each(CLAIMS)
def test_rows_make_a_claim_hold_and_fail(name: str, number: int) -> None:
    claim = claim_of(name, number)
    run = unmeasured(name, number)
    for holding, expected in ((True, HOLDS), (False, FAILS)):
        if claim.where:
            assert claim.within is not None
            rows = series(claim, run, (0.5 if holding else 2) * claim.within)
        else:
            rows = planted(claim, run, **by_far(claim, holding=holding))
        found = judged(name, number, rows)
        assert found.verdict is expected, (claim.claim, found.why)
        assert found.points
        assert None not in [p.here for p in found.published]


@pytest.mark.sampled(4, slow=0)
@each(c for c in CLAIMS if not claim_of(*c).where)
def test_one_point_that_fails_is_enough_unless_the_median_decides(name: str, number: int) -> None:
    claim = claim_of(name, number)
    rows = planted(claim, unmeasured(name, number), **by_far(claim, holding=True))
    points = judged(name, number, rows).points
    place = {k: v for k, v in points[0].at.items() if k in claim.shared}
    here = claim.rows("left", rows)
    for column, value in place.items():
        here = here[here[column] == value]
    measure(claim, rows, here.index, by_far(claim, holding=False)["left"])
    many = len({tuple(p.at.values()) for p in points}) > 2
    expected = HOLDS if claim.over == "median" and many else FAILS
    assert judged(name, number, rows).verdict is expected


@pytest.mark.sampled(4, slow=0)
@each(CLAIMS)
def test_a_claim_stays_open_until_both_of_its_sides_are_measured(name: str, number: int) -> None:
    claim = claim_of(name, number)
    run = unmeasured(name, number)
    assert judged(name, number, run).verdict is UNMEASURED
    if claim.where:
        found = judged(name, number, series(claim, run, 0.0, leave_out=1))
        assert (found.verdict, "figures have no row" in found.why) == (UNMEASURED, True)
        return
    for key in claim.conditions:
        other = {k: v for k, v in by_far(claim, holding=True).items() if k != key}
        found = judged(name, number, planted(claim, run, **other))
        assert found.verdict is UNMEASURED
        assert found.why.startswith(f"{key} has no figure")


@each(c for c in CLAIMS if c[0] in PAPERS and names_device(claim_of(*c), "cuda"))
def test_a_claim_about_a_gpu_is_not_measured_on_a_cpu(name: str, number: int) -> None:
    claim = claim_of(name, number)
    run = planned(name, "cpu").copy()
    measure(claim, run, run.index, 1.0)
    found = judged(name, number, run)
    assert (found.verdict, found.why) == (UNMEASURED, "left is about cuda, and this run is of cpu")


@each(c for c in CLAIMS if len(claim_of(*c).conditions) == 2)
def test_no_row_stands_on_both_sides(name: str, number: int) -> None:
    claim = claim_of(name, number)
    run = unmeasured(name, number)
    assert not {*claim.rows("left", run).index} & {*claim.rows("right", run).index}


# What cannot fail, and what a claim of a paper must say


def excuses(name: str, claim: Claim) -> Iterator[str]:
    """Why a claim decides nothing, in the ways that claims of these suites once did not."""
    run = planned(name, device_of(name, claim))
    strict = claim.relation in ("<", ">")
    if claim.value in ERRORS and isinstance(claim.right, str) and "precision" in claim.apart:
        left, right = (
            {tuple(map(str, m)) for m in claim.rows(k, run)[list(METHOD)].to_numpy()}
            for k in ("left", "right")
        )
        if left & right:
            yield "a method against itself in another precision: the ratio of two roundings, or 1"
    if claim.value in ERRORS[:3] and not isinstance(claim.right, str) and not claim.where:
        forwards = set(claim.rows("left", run)["forward"])
        if claim.relation.startswith(">") and all(f.startswith("gcp_") for f in forwards):
            yield "how much of a root was dropped is arithmetic of its spectrum"
    if claim.value == "seconds_median" and strict:
        if not claim.source.startswith("this project") and device_of(name, claim) != "cuda":
            yield "a paper timed a GPU, and this is any device"
        if claim.left_wins and claim.factor < 1:
            yield "a limit that counts a tie as exceeding it"


@each(CLAIMS)
def test_no_claim_is_decided_before_it_is_measured(name: str, number: int) -> None:
    claim = claim_of(name, number)
    assert list(excuses(name, claim)) == []


BEFORE: dict[str, tuple[str, str, dict[str, Any]]] = {
    "single precision is enough": (
        "paper_isqrt_2018",
        "a method against itself",
        {
            "value": "root_error",
            "relation": "<=",
            "factor": 0.99,
            "apart": ["precision"],
            "left": "forward == 'newton_schulz' and iterations == 5 and phase == 'forward'",
            "right": "forward == 'newton_schulz' and iterations == 5",
        },
    ),
    "SVD needs float64": (
        "paper_svd_2021",
        "a method against itself",
        {
            "value": "gradient_error",
            "relation": ">",
            "factor": 10,
            "apart": ["precision"],
            "left": "backward == 'svd_trunc_released' and precision == 'float32' "
            "and phase == 'step'",
            "right": "backward == 'svd_trunc_released' and precision == 'float64'",
        },
    ),
    "small eigenvalues matter": (
        "paper_seb_2022",
        "how much of a root was dropped",
        {
            "value": "root_error",
            "relation": ">",
            "right": 0.1,
            "left": "forward == 'gcp_truncate' and phase == 'step'",
        },
    ),
    "faster than SVD": (
        "paper_isqrt_2018",
        "a paper timed a GPU",
        {
            "value": "seconds_median",
            "relation": "<",
            "left": "forward == 'newton_schulz' and iterations == 5 and phase == 'step'",
            "right": "forward == 'svd' and phase == 'step'",
        },
    ),
    "nearly free": (
        "paper_seb_2022",
        "a limit that counts a tie",
        {
            "value": "seconds_median",
            "relation": "<",
            "factor": 0.8333,
            "left": "forward == 'gcp_seb' and device == 'cuda'",
            "right": "forward == 'eigh'",
        },
    ),
}


@pytest.mark.parametrize("case", BEFORE)
def test_what_could_not_fail_is_recognised(case: str) -> None:
    name, said, table = BEFORE[case]
    (claim,) = statements.read([table | {"claim": "It is so.", "source": "someone, 2018"}])
    assert any(text.startswith(said) for text in excuses(name, claim))


@each(c for c in CLAIMS if c[0] in PAPERS or c[0] == "gpu_paper")
def test_a_claim_names_its_criterion_and_its_device(name: str, number: int) -> None:
    claim = claim_of(name, number)
    assert re.search(r"; criterion: (the paper's|this project's)", claim.source), claim.source
    assert re.search(r"20\d\d|400 matrices|^this project;", claim.source)
    if claim.source.startswith("this project"):
        assert "criterion: the paper's" not in claim.source
    if name in PAPERS and claim.value == "seconds_median":
        for word, device in (("GPU", "cuda"), ("CPU", "cpu")):
            assert (f"a {word}" in claim.claim) == names_device(claim, device)


@pytest.mark.parametrize("name", PAPERS)
def test_no_paper_s_suite_says_that_a_singular_matrix_has_no_gradient(name: str) -> None:
    text = suite.find(name).read_text("utf-8")
    assert "exists" not in text
    if name in POOLING:
        assert "[[exclude]]" not in text


POOLING = ("paper_isqrt_2018", "paper_seb_2022", "paper_svd_2021")


@pytest.mark.parametrize("name", POOLING)
def test_gradients_are_measured_at_the_papers_operating_point(name: str) -> None:
    """256 channels, 196 positions and at least 8 samples: A is singular."""
    run = planned(name, "cpu")
    there = run[
        (run["size"] == 256)
        & (run["batch"] >= 8)
        & run["problem"].isin(["wishart(ratio=0.766)", "pooled_features(positions=196, noise=0.3)"])
    ]
    assert {"backward", "step"} <= set(there["phase"])
    step = there[there["phase"] == "step"]
    assert step["pair"].nunique() >= 2
    for claim in statements.read(tables(name)):
        if claim.value == "gradient_error" and "more positions" not in claim.claim:
            sizes = claim.rows("left", run)["problem"]
            assert any(map(SINGULAR.match, sizes)) or "clusters" in claim.left, claim.claim


@pytest.mark.parametrize("name", PAPERS)
def test_a_paper_s_suite_ends_within_six_minutes(name: str) -> None:
    from mssbench.suite.forecast import seconds_here

    chosen = suite.load(suite.find(name), auto="cpu")
    assert chosen.minutes is not None
    assert chosen.minutes <= 6
    assert seconds_here(chosen.cells, chosen.policy) < 6 * 60


# One claim of each kind, by rows and verdicts that are written out


def sentence(name: str, start: str) -> dict[str, Any]:
    (table,) = [t for t in tables(name) if t["claim"].startswith(start)]
    return table


def verdict(name: str, start: str, *rows: Mapping[str, Any]) -> ClaimVerdict:
    return claims.judge_claims([sentence(name, start)], frame(*rows))[0].verdict


POINT = {"problem": "wishart(ratio=0.766)", "size": 256, "batch": 8, "phase": "step"}
NS = POINT | {"forward": "newton_schulz", "backward": "newton_schulz_adjoint", "iterations": 5}
SVD = POINT | {"forward": "svd", "backward": "svd_trunc"}


def released(name: str, error: float | None, **given: Any) -> Any:
    layer = POINT | {"forward": "svd_released", "backward": f"svd_{name}_released"}
    return row(1.0, **layer | {"gradient": error} | given)


@pytest.mark.parametrize(
    ("seconds", "spread", "device", "expected"),
    [
        ((1.0, 3.0), 0.0, "cuda", HOLDS),
        ((3.0, 1.0), 0.0, "cuda", FAILS),
        ((1.0, 1.1), 0.2, "cuda", FAILS),
        ((1.0, 3.0), 0.0, "cpu", UNMEASURED),
    ],
)
def test_a_time_on_a_gpu_is_faster_only_if_it_is_told_apart(
    seconds: tuple[float, float], spread: float, device: str, expected: ClaimVerdict
) -> None:
    start = (
        "On a GPU, forward and backward, five Newton-Schulz steps as released are faster than SVD."
    )
    layer = NS | {"backward": "newton_schulz_adjoint_released"}
    rows = [
        row(t, spread=spread, device=device, **method)
        for t, method in zip(seconds, (layer, SVD), strict=True)
    ]
    assert verdict("paper_isqrt_2018", start, *rows) is expected


@pytest.mark.parametrize(
    ("seconds", "spread", "expected"),
    [((1.19, 1.0), 0.0, HOLDS), ((1.21, 1.0), 0.0, FAILS), ((1.21, 1.0), 0.05, HOLDS)],
)
@pytest.mark.parametrize("status", ["diverged", "ok", "nonfinite"])
def test_a_cost_at_most_so_large_survives_a_tie_and_a_root_that_is_meant_to_be_another(
    seconds: tuple[float, float], spread: float, expected: ClaimVerdict, status: str
) -> None:
    point = {"problem": "wishart(ratio=0.766)", "size": 256, "batch": 8}
    branch = {"forward": "gcp_seb_released", "root": 4.3, "status": status}
    rows = [
        row(seconds[0], spread=spread, **point, **branch),
        row(seconds[1], spread=spread, **point, forward="svd_released", root=1e-6),
    ]
    found = verdict("paper_seb_2022", "The scaling branch is nearly free", *rows)
    assert found is (FAILS if status == "nonfinite" else expected)


@pytest.mark.parametrize(
    ("error", "status", "expected"),
    [
        (0.5, "inaccurate", HOLDS),
        (0.05, "ok", FAILS),
        (7e3, "diverged", HOLDS),
        (None, "nonfinite", HOLDS),
        (None, "timeout", UNMEASURED),
        (None, "interrupted", UNMEASURED),
    ],
)
def test_an_error_in_single_precision_exceeds_a_limit(
    error: float | None, status: str, expected: ClaimVerdict
) -> None:
    start = "With fewer positions than channels, the gradients of the released SVD layers are wrong"
    assert verdict("paper_svd_2021", start, released("pade", error, status=status)) is expected
    double = released("pade", error, status=status, precision="float64")
    assert verdict("paper_svd_2021", start, double) is UNMEASURED


@pytest.mark.parametrize(
    ("error", "status", "expected"),
    [
        (2.6e-4, "ok", HOLDS),
        (2e-3, "ok", FAILS),
        (3.0, "diverged", FAILS),
        (None, "nonfinite", FAILS),
        (None, "interrupted", UNMEASURED),
    ],
)
def test_and_in_double_precision_stays_below_another(
    error: float | None, status: str, expected: ClaimVerdict
) -> None:
    start = "With fewer positions than channels, the gradients of the released SVD layers are right"
    rows = released("trunc", error, status=status, precision="float64")
    assert verdict("paper_svd_2021", start, rows) is expected


@pytest.mark.parametrize(
    ("ours", "theirs", "status", "expected"),
    [
        (0.43, 1.8e9, "diverged", HOLDS),
        (3.1, 1.2, "ok", FAILS),
        (3.1, 1.2, "diverged", FAILS),
        (0.43, None, "nonfinite", HOLDS),
        (0.43, None, "interrupted", UNMEASURED),
    ],
)
def test_a_gradient_is_smoother_by_its_amplification_even_if_it_is_wrong(
    ours: float, theirs: float | None, status: str, expected: ClaimVerdict
) -> None:
    start = "With fewer positions than channels, the gradients of Newton-Schulz are smoother"
    mine = row(1.0, amplification=ours, gradient=0.77, status="inaccurate", **NS)
    rows = mine, released("pade", 7e3, amplification=theirs, status=status)
    assert verdict("paper_svd_2021", start, *rows) is expected


def test_the_median_of_the_remedies_decides_and_one_of_them_does_not() -> None:
    start = (
        "Of the released remedies, Pade approximants have the best gradient with fewer positions "
        "than channels, in the median"
    )
    others = [released(x, e) for x, e in (("trunc", 0.1), ("taylor", 0.2), ("power_iteration", 1))]
    assert verdict("paper_svd_2021", start, released("pade", 0.15), *others) is HOLDS
    assert verdict("paper_svd_2021", start, released("pade", 0.25), *others) is FAILS
    failed = released("pade", 7e3, status="diverged")
    assert verdict("paper_svd_2021", start, failed, *others) is FAILS
    assert verdict("paper_svd_2021", start, *others) is UNMEASURED


@pytest.mark.parametrize(
    ("weight", "expected"), [(1.0, FAILS), (0.9, FAILS), (1.02, HOLDS), (None, UNMEASURED)]
)
def test_the_branch_amplifies_small_eigenvalues_if_their_share_of_the_root_grows(
    weight: float | None, expected: ClaimVerdict
) -> None:
    start = "The scaling branch amplifies the small eigenvalues"
    seb = row(1.0, forward="gcp_seb", root=4.3, status="diverged", tail_weight=weight)
    assert verdict("paper_seb_2022", start, seb) is expected


def test_at_equal_accuracy_the_fastest_accurate_row_of_each_side_counts() -> None:
    start = "At equal accuracy, a gradient error of 1e-2"
    exact = row(2.0, gradient=1e-5, **POINT | {"forward": "eigh", "backward": "loewner"})
    steps = {5: (0.5, 0.77), 13: (1.5, 7.7e-3)}

    def rows(by: float) -> Any:
        return [row(t * by, gradient=e, **NS | {"iterations": k}) for k, (t, e) in steps.items()]

    assert verdict("paper_isqrt_2018", start, exact, *rows(1)) is HOLDS
    assert verdict("paper_isqrt_2018", start, exact, *rows(2)) is FAILS
    assert verdict("paper_isqrt_2018", start, exact, rows(1)[0]) is FAILS  # never accurate
    assert verdict("paper_isqrt_2018", start, *rows(1)) is UNMEASURED


def test_a_published_series_holds_within_3_per_cent_of_all_of_it() -> None:
    start = "The mean absolute error of MPA grows with n as the poster has it."
    figures = {16: 0.041, 32: 0.053, 64: 0.065, 96: 0.074, 128: 0.081}

    def rows(by: float, sizes: Any = figures) -> Any:
        return [
            row(1.0, forward="pade", problem="gram", size=n, root_mae=figures[n] * by)
            for n in sizes
        ]

    for by, expected in ((1.0, HOLDS), (1.02, HOLDS), (1.04, FAILS), (0.96, FAILS)):
        assert verdict("paper_fast_root_2022", start, *rows(by)) is expected
    assert verdict("paper_fast_root_2022", start, *rows(1.0, [16, 32])) is UNMEASURED


def test_each_relation_is_among_those_that_are_written_out() -> None:
    """A kind of claim that a suite adds needs rows by hand above."""
    kinds = {
        (c.relation, c.value, isinstance(c.right, str), bool(c.accept), c.over)
        for name, number in product(PAPERS, range(99))
        if number < len(tables(name))
        for c in [claim_of(name, number)]
        if not c.where and c.at_error is None
    }
    assert {(relation, over) for relation, _, _, _, over in kinds} <= {
        ("<", "every"),
        ("<=", "every"),
        (">", "every"),
        (">=", "every"),
        ("<", "median"),
    }
    assert {value for _, value, _, _, _ in kinds} <= {
        "seconds_median",
        "root_error",
        "root_mae",
        "residual",
        "gradient_error",
        "amplification",
        "tail_weight",
    }
