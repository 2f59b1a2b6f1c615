"""Which methods are on the front of time and errors, where the answer is known by hand."""

from math import isnan

import pytest
from helpers.tables import frame, row

from mssbench.analysis import pareto
from mssbench.analysis.pareto import Front, Standing

EASY, HARD = "wishart(ratio=2)", "logspec(condition=1e6)"
CONDITION = {EASY: 40.0, HARD: 1e6}


def method(forward, seconds, root=1e-6, gradient=1e-5, *, spread=0.0, problem=EASY, **more):
    """One row of a step, which is right unless `status` says otherwise."""
    given = {"phase": "step", "backward": "loewner", "condition": CONDITION.get(problem, 40.0)}
    return row(
        seconds,
        forward=forward,
        problem=problem,
        root=root,
        gradient=gradient,
        spread=spread,
        **given | more,
    )


def only(*rows) -> Front:
    (front,) = pareto.fronts(frame(*rows))
    return front


def standings(front: Front) -> dict[str, tuple[str, str]]:
    def name(method):
        return method.partition(" ")[0]

    return {name(c.method): (str(c.standing), name(c.by)) for c in front.contenders}


def test_a_method_stays_that_is_faster_or_more_accurate_than_every_other():
    front = only(
        method("pade", 1e-3, root=1e-2, gradient=1e-2),
        method("eigh", 2e-3, root=1e-6, gradient=1e-5),
        method("svd", 3e-3, root=1e-6, gradient=1e-5),
    )
    assert standings(front) == {
        "pade": ("front", ""),
        "eigh": ("front", ""),
        "svd": ("beaten", "eigh"),
    }


@pytest.mark.parametrize(("root", "gradient"), [(1e-8, 1e-5), (1e-6, 1e-7)])
def test_a_smaller_error_of_root_or_gradient_is_enough_to_stay(root, gradient):
    front = only(method("eigh", 1e-3), method("svd", 2e-3, root=root, gradient=gradient))
    assert standings(front)["svd"] == ("front", "")


@pytest.mark.parametrize(("factor", "standing"), [(1.9, "beaten"), (2.1, "front")])
def test_errors_within_a_factor_of_two_are_equal(factor, standing):
    front = only(
        method("eigh", 1e-3, root=1e-6 * factor, gradient=1e-5 * factor), method("svd", 2e-3)
    )
    assert standings(front)["svd"][0] == standing


def test_what_the_intervals_do_not_decide_is_undecided_and_names_the_rival():
    slower = method("svd", 1.2e-3, spread=0.2)
    assert standings(only(method("eigh", 1e-3, spread=0.1), slower)) == {
        "eigh": ("front", ""),
        "svd": ("undecided", "eigh"),
    }
    assert standings(only(method("eigh", 0.9e-3), slower))["svd"] == ("beaten", "eigh")


def test_a_time_over_several_problems_is_a_geometric_mean_and_errors_are_the_worst():
    harder = "logspec(condition=1e4)"
    front = only(
        method("eigh", 1e-3, problem=HARD, root=1e-3, gradient=1e-2),
        method("eigh", 4e-3, problem=harder, condition=1e4, root=1e-4, gradient=2e-2),
    )
    (contender,) = front.contenders
    assert contender.seconds == pytest.approx(2e-3)
    assert (contender.root_error, contender.gradient_error) == (1e-3, 2e-2)
    assert front.kind.name == "hard"
    assert {*front.problems} == {HARD, harder}


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"status": "inaccurate"}, "inaccurate"),
        ({"seconds": None, "status": "crashed"}, "crashed"),
        ({"flags": "above_ceiling"}, "above_ceiling"),
    ],
)
def test_a_method_that_is_not_right_is_no_rival_and_says_why(given, why):
    wrong = method(**{"forward": "svd", "seconds": 1e-4} | given)
    front = only(method("eigh", 1e-3), wrong)
    assert standings(front) == {"eigh": ("front", "")}
    assert [*front.not_compared.values()] == [why]


def test_a_method_that_was_not_measured_on_all_problems_is_not_compared():
    front = only(
        method("eigh", 1e-3, seed=0), method("eigh", 1e-3, seed=1), method("svd", 1e-4, seed=0)
    )
    assert standings(front) == {"eigh": ("front", "")}
    assert [*front.not_compared.values()] == ["measured on 1 of 2 batches of matrices"]


@pytest.mark.parametrize("options", ["ridge=0.1", "rtol=1e-06"])
def test_the_root_of_a_changed_matrix_beats_no_root_of_the_matrix_itself(options):
    """Its errors are compared with the root of the changed matrix, so that they are small."""
    front = only(method("svd", 1e-4, 1e-9, 1e-9, options=options), method("eigh", 1e-3))
    assert standings(front) == {"eigh": ("front", "")}
    assert [*front.not_compared.values()] == [
        "it takes the root of a changed matrix (ridge or rtol)"
    ]


def test_an_error_that_is_not_known_beats_no_known_one_and_is_beaten_by_none():
    front = only(method("eigh", 1e-3, root=None, gradient=None), method("svd", 2e-3))
    assert standings(front) == {"eigh": ("front", ""), "svd": ("front", "")}
    unknown = only(*(method(f, t, None, None) for f, t in (("eigh", 1e-3), ("svd", 2e-3))))
    assert standings(unknown)["svd"] == ("beaten", "eigh")


def test_a_method_that_cannot_run_here_is_not_called_wrong():
    front = only(method("eigh", 1e-3), method("svd", None, status="not_installed"))
    assert standings(front) == {"eigh": ("front", "")}
    assert front.not_compared == {}


def test_kinds_of_matrix_places_and_phases_have_fronts_of_their_own():
    found = pareto.fronts(
        frame(
            method("eigh", 1e-3),
            method("eigh", 1e-3, problem=HARD),
            method("eigh", 1e-3, size=32),
            method("eigh", 1e-3, phase="forward", backward="none", gradient=None),
            method("eigh", 1e-3, phase="backward"),
        )
    )
    assert len(found) == 4, "the phase backward has none"
    (forward,) = [f for f in found if f.place["phase"] == "forward"]
    assert isnan(forward.contenders[0].gradient_error)


def test_every_method_that_is_not_beaten_is_found_by_comparing_all_pairs():
    """With times that are exact, the front is that of the definition."""
    times = [1.0, 1.5, 2.0, 2.5, 3.0, 4.0]
    errors = [3e-2, 1e-3, 1e-2, 1e-5, 1e-4, 1e-7]
    names = ["pade", "svd", "eigh", "newton_schulz", "minimax", "prism"]
    found = only(
        *(method(n, t, root=e, gradient=e) for n, t, e in zip(names, times, errors, strict=True))
    )
    due = {
        name
        for name, t, e in zip(names, times, errors, strict=True)
        if not any(t2 < t and e2 <= 2 * e for t2, e2 in zip(times, errors, strict=True))
    }
    on_front = {c.method.partition(" ")[0] for c in found.contenders if c.standing == "front"}
    assert on_front == due == {"pade", "svd", "newton_schulz", "prism"}
    assert all(c.by for c in found.contenders if c.standing is Standing.BEATEN)
