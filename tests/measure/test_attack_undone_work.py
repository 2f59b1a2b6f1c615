"""Methods that do not do the work that they are timed for: none of them is `ok`."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from helpers.cells import CELL, rows

from mssbench.measure.inputs import Rotation
from mssbench.measure.instruments import ceilings
from mssbench.measure.session import Session, Settings
from mssbench.methods import pair, registry
from mssbench.methods.method import Root
from mssbench.methods.registry import register_backward, register_forward
from mssbench.records.measurement import Measurement, Status
from mssbench.records.policy import Policy

# Long enough that most calls come after every rotating input was met.
OFTEN = Settings(
    Policy(min_seconds=0, min_samples=40, max_seconds=60, warmup_seconds=0, interval=1)
)
SIZED = replace(CELL, size=32, batch=16)


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    with registry.temporarily():
        yield
    pair.forget()


def honest(a: Any) -> Any:
    """Twenty steps of Newton–Schulz: products, which are counted."""
    call = registry.lookup("forward", "newton_schulz").call
    return call(a, frozenset(["sqrt"]), iterations=20, norm="trace").sqrt


def forward(call: Callable[[Any], Any], name: str, libraries: tuple[str, ...] = ("torch",)) -> None:
    def method(a: Any) -> Root:
        return Root(sqrt=call(a))

    method.__name__ = name
    register_forward(
        cite="an attack, 2026", products=lambda: 57.0, yields=("sqrt",), libraries=libraries
    )(method)


def measured(name: str, samples: int = 20, **changes: Any) -> tuple[Measurement, ...]:
    settings = replace(OFTEN, policy=replace(OFTEN.policy, min_samples=samples))
    return rows(replace(SIZED, forward=name, **changes), Session(settings))


def content(a: Any) -> bytes:
    return np.asarray(a.detach()).tobytes() if isinstance(a, torch.Tensor) else a.tobytes()


def remembering(compute: Callable[[Any], Any], key: Callable[[Any], Any]) -> Callable[[Any], Any]:
    kept: dict[Any, Any] = {}

    def call(a: Any) -> Any:
        if key(a) not in kept:
            kept[key(a)] = compute(a)
        return kept[key(a)]

    return call


def test_attack_answers_are_remembered_by_content() -> None:
    forward(remembering(honest, content), "by_content")
    (found,) = measured("by_content")
    assert found.status is Status.IMPLAUSIBLE
    assert "it remembers answers" in found.reason


def test_attack_answers_are_remembered_of_work_too_short_for_a_clock() -> None:
    """One operation of a few microseconds: only what is counted tells."""
    forward(remembering(torch.sqrt, content), "of_numbers")
    (found,) = measured("of_numbers", size=1, batch=2)
    assert found.status is Status.IMPLAUSIBLE
    assert "operators for matrices that the method had not seen, 0 for those seen" in found.reason


@pytest.mark.slow
@pytest.mark.timing
def test_attack_answers_are_remembered_by_content_in_numpy_where_no_work_is_counted() -> None:
    def compute(a: np.ndarray) -> np.ndarray:
        w, v = np.linalg.eigh(a)
        return (v * np.sqrt(w)[:, None, :]) @ v.swapaxes(1, 2)

    forward(remembering(compute, content), "by_content", libraries=("numpy",))
    # The first seven samples of the rotating inputs are of content that it has not met either.
    (found,) = measured("by_content", samples=80, library="numpy", size=64)
    assert found.status is Status.IMPLAUSIBLE
    assert "those seen before" in found.reason


@pytest.mark.slow
def test_attack_answers_are_remembered_of_matrices_of_trace_one() -> None:
    """So that the scale of what it is given makes no difference."""
    of_scaled = remembering(honest, content)

    def call(a: torch.Tensor) -> torch.Tensor:
        trace = a.diagonal(0, -2, -1).sum(-1)[..., None, None]
        return of_scaled(a / trace) * trace.sqrt()

    forward(call, "by_scaled_content")
    (found,) = measured("by_scaled_content")
    assert found.status is Status.IMPLAUSIBLE


@pytest.mark.slow
def test_attack_work_is_done_only_while_somebody_counts_it() -> None:
    """What it remembers by content it forgets under a dispatch mode: times alone can tell."""
    from torch.utils._python_dispatch import _get_current_dispatch_mode

    of_content = remembering(honest, content)
    forward(
        lambda a: of_content(a) if _get_current_dispatch_mode() is None else honest(a), "watched"
    )
    (found,) = measured("watched", samples=80, size=64)
    assert found.status is Status.IMPLAUSIBLE
    assert "those seen before" in found.reason


@pytest.mark.slow
def test_attack_the_backward_remembers_gradients_by_content() -> None:
    loewner = registry.lookup("backward", "loewner").call
    kept: dict[bytes, torch.Tensor] = {}

    @register_backward(cite="an attack, 2026", products=lambda: 4.0, reads=("eigen",), only=True)
    def by_content(root: Root, function: str, g: torch.Tensor) -> torch.Tensor:
        key = content(root.eigen[1]) + content(g)
        if key not in kept:
            kept[key] = loewner(root, function, g)
        return kept[key]

    found = measured("eigh", backward="by_content")
    assert {m.status for m in found} == {Status.IMPLAUSIBLE}


def test_attack_a_tensor_that_computes_when_it_is_looked_at() -> None:
    class Lazy(torch.Tensor):
        @classmethod
        def __torch_function__(
            cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            given = [honest(x.as_subclass(torch.Tensor)) if type(x) is cls else x for x in args]
            return func(*given, **(kwargs or {}))

    forward(lambda a: a.clone().as_subclass(Lazy), "lazy")
    (found,) = measured("lazy")
    assert found.status is Status.CRASHED
    assert "Lazy, not a torch.Tensor" in found.reason


def test_attack_an_array_of_numpy_that_computes_when_it_is_looked_at() -> None:
    class Lazy(np.ndarray):
        def __array_finalize__(self, obj: Any) -> None:
            del obj

    forward(lambda a: a.copy().view(Lazy), "lazy", libraries=("numpy",))
    (found,) = measured("lazy", library="numpy")
    assert found.status is Status.CRASHED
    assert "not a numpy.ndarray" in found.reason


@pytest.mark.parametrize(
    ("elsewhere", "why"),
    [
        (lambda y: y.to("meta"), "is on meta, not on cpu"),
        (lambda y: y.to_sparse(), "torch.sparse_coo, not torch.strided: return its `to_dense()`"),
        (lambda y: torch._neg_view(-y), "a lazy view, which torch only marks as negated"),
        (lambda y: torch._efficientzerotensor(y.shape, dtype=y.dtype), "a lazy view"),
        (lambda y: y.to(torch.float32), "has dtype float32, not float64: convert it"),
    ],
    ids=["meta", "sparse", "negated later", "zeros without memory", "narrower"],
)
def test_attack_an_output_that_is_not_there(elsewhere: Callable[[Any], Any], why: str) -> None:
    forward(lambda a: elsewhere(honest(a)), "elsewhere")
    (found,) = measured("elsewhere")
    assert found.status is Status.CRASHED
    assert why in found.reason


def test_attack_an_output_that_is_elsewhere_after_the_first_calls() -> None:
    count = [0]

    def call(a: torch.Tensor) -> torch.Tensor:
        count[0] += 1
        y = honest(a)
        return y if count[0] < 12 else y.to("meta")

    forward(call, "elsewhere")
    (found,) = measured("elsewhere")
    assert found.status is Status.CRASHED
    assert "is on meta" in found.reason


@pytest.mark.slow
def test_attack_a_thread_writes_the_result_after_the_call_has_returned() -> None:
    """Its first calls wait for the thread, so that they are right."""
    count, threads = [0], list[threading.Thread]()

    def call(a: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode(False):  # which the thread is not in
            x = a.detach().clone()
            y = torch.empty_like(x)
        thread = threading.Thread(target=lambda: y.copy_(honest(x)))
        thread.start()
        threads.append(thread)
        count[0] += 1
        if count[0] < 8:
            thread.join()
        return y

    forward(call, "in_a_thread")
    (found,) = measured("in_a_thread", size=64)
    for thread in threads:
        thread.join()
    assert found.status not in (Status.OK, Status.CRASHED), found.reason


@pytest.mark.slow
def test_attack_one_call_of_four_returns_the_answer_of_the_call_before() -> None:
    """The last call of a row is right, and so is the first."""
    count, kept = [0], list[torch.Tensor]()

    def call(a: torch.Tensor) -> torch.Tensor:
        count[0] += 1
        if kept and count[0] % 4 == 0:
            return kept[0]
        kept[:] = [honest(a)]
        return kept[0]

    forward(call, "sometimes")
    (found,) = measured("sometimes", size=8)
    assert found.status in (Status.INACCURATE, Status.DIVERGED)


def test_attack_only_what_was_met_in_the_first_calls_is_answered_rightly() -> None:
    """Of the rotating inputs every answer is right, and none of them takes less time."""
    met, kept = list[bytes](), list[torch.Tensor]()

    def call(a: torch.Tensor) -> torch.Tensor:
        if len(met) < 15:  # the rotating inputs are eight
            met.append(content(a))
        if content(a) not in met:
            return kept[0]
        kept[:] = [honest(a)]
        return kept[0]

    forward(call, "forgetful")
    (found,) = measured("forgetful", samples=80, size=8)
    assert found.status in (Status.INACCURATE, Status.DIVERGED)
    assert "root error" in found.reason  # of new matrices, or of the last timed output


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (2, 1), (2, 2), (1, 3)])
def test_attack_so_few_permutations_that_inputs_repeat(shape: tuple[int, int]) -> None:
    """At n = 1, batch 2 the turn had one input twice running in half of its calls."""
    b, n = shape
    rng = np.random.default_rng(0)
    x = rng.standard_normal((b, n, n + 2))
    rotation = Rotation(torch.tensor(x @ x.swapaxes(1, 2)), torch.tensor(x[..., :n]), seed=0)
    taken = [content(rotation.next().a) for _ in range(140)]
    assert sum(one == other for one, other in pairwise(taken)) == 0
    if b * n > 1:  # of one number there are seven multiples, and eight inputs
        assert content(rotation.first.a) not in taken


@pytest.mark.parametrize("kind", ["identity", "equal"])
def test_attack_matrices_that_no_permutation_changes(kind: str) -> None:
    matrix = torch.eye(8) if kind == "identity" else torch.full((8, 8), 0.5) + torch.eye(8)
    a = matrix.repeat(16, 1, 1)
    rotation = Rotation(a, a, seed=0)
    assert content(rotation.new().a) not in {content(x.a) for x in rotation.all}
    assert len({content(x.a) for x in rotation.all}) > 3
    for x in (rotation.new(), *rotation.all):
        root = torch.linalg.cholesky(x.a @ x.a)  # of a multiple of I its root is the matrix itself
        if kind == "identity":
            restored = np.asarray(x.restore_root("sqrt")(root.sqrt()))
            assert restored == pytest.approx(np.asarray(a))


@pytest.mark.slow
@pytest.mark.timing
def test_attack_eighty_times_faster_than_can_be_on_a_busy_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As the work it counts is done elsewhere. Other work on the machine explains a part only."""
    forward(honest, "busy")
    (found,) = measured("busy")
    due = found.values["certain"] * 2.0 * 32**3 * 16
    seconds = found.timing.statistics()["seconds_median"]
    monkeypatch.setattr("os.getloadavg", lambda: (99.0, 99.0, 99.0))
    for factor, status in ((83, Status.IMPLAUSIBLE), (3.2, Status.OK)):
        slow = due / seconds / factor  # flop/s at which the work would take so much longer
        known = {"float64": slow, "bytes_per_second": 1e12, "calls_per_second": 1e9}
        monkeypatch.setattr(ceilings.Ceilings, "best", lambda *_, known=known: known)
        (found,) = measured("busy")
        assert found.status is status
    assert "above_ceiling" in found.values["flags"]


@pytest.mark.slow
@pytest.mark.parametrize("backward", ["none", "lyapunov_newton_schulz", "autodiff"])
def test_a_method_that_works_in_every_call_is_ok(backward: str) -> None:
    forward(honest, "honest")
    for size, batch in ((1, 2), (16, 8)):
        for found in measured("honest", size=size, batch=batch, backward=backward):
            assert found.status is Status.OK, found.reason


@pytest.mark.parametrize("backward", ["none", "lyapunov_newton_schulz", "autodiff"])
def test_the_work_of_an_honest_method_is_counted_once_more_and_not_again(
    backward: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two further counts follow only where a call on seen content did less work."""
    from mssbench.measure import work_of_cell

    counts: list[int | None] = []
    count = work_of_cell.counted

    def counted(*given: Any) -> Any:
        found = count(*given)
        counts.append(found.operators)
        return found

    monkeypatch.setattr(work_of_cell, "counted", counted)
    forward(honest, "honest")
    measured("honest", size=16, batch=8, backward=backward)
    assert len(counts) == 1


def batch_of(b: int, n: int) -> torch.Tensor:
    """Matrices of which no two are equal, nor permuted forms of each other."""
    x = torch.tensor(np.random.default_rng(1).standard_normal((b, n, n)))
    return x @ x.mT + n * torch.eye(n)


@pytest.mark.parametrize(("b", "n", "due"), [(1, 2, 20), (1, 64, 200), (4, 16, 300), (16, 32, 400)])
def test_attack_what_is_new_content_never_comes_twice(b: int, n: int, due: int) -> None:
    """A memory would answer it at once, and would be taken for a method that computes."""
    a = batch_of(b, n)
    rotation = Rotation(a, a, seed=0)
    met = {content(x.a) for x in rotation.all}
    for _ in range(due):
        x = rotation.new()
        if not rotation.repeats:
            assert content(x.a) not in met
        assert not rotation.repeats or n < 16
        met.add(content(x.a))
    assert len(met) >= due // 2


def test_attack_a_batch_with_few_contents_says_when_they_are_used_up() -> None:
    a = batch_of(1, 1)
    rotation = Rotation(a, a, seed=0)
    repeats = []
    for _ in range(60):
        rotation.new()
        repeats.append(rotation.repeats)
    assert not all(repeats)
    assert all(repeats[-10:])
    rotation.begin()  # another method has met none of them
    assert not all(rotation.new() is None or rotation.repeats for _ in range(20))


@pytest.mark.slow
@pytest.mark.timing
def test_attack_answers_of_a_single_matrix_are_remembered_for_many_samples() -> None:
    """There are few shifts of one matrix of this size, and the samples are many."""

    def compute(a: np.ndarray) -> np.ndarray:
        w, v = np.linalg.eigh(a)
        return (v * np.sqrt(w)[:, None, :]) @ v.swapaxes(1, 2)

    forward(remembering(compute, content), "by_content", libraries=("numpy",))
    for _ in range(3):
        (found,) = measured("by_content", samples=120, library="numpy", size=64, batch=1)
        assert found.status is Status.IMPLAUSIBLE


@pytest.mark.parametrize(
    ("kind", "shape"), [("identity", (1, 64)), ("identity", (4, 16)), ("diagonal", (1, 64))]
)
def test_attack_moves_that_change_nothing_are_not_taken_for_new_content(
    kind: str, shape: tuple[int, int]
) -> None:
    """Each move is drawn with another number, and says nothing about the content it gives."""
    b, n = shape
    entries = torch.ones(n) if kind == "identity" else torch.arange(1.0, n + 1)
    a = torch.diag(entries).repeat(b, 1, 1)
    for by_signs in (False, True):
        rotation = Rotation(a, a, seed=0, by_signs=by_signs)
        met = {content(x.a) for x in rotation.all}
        for _ in range(200):
            x = rotation.new()
            assert rotation.repeats or content(x.a) not in met
            met.add(content(x.a))


@pytest.mark.parametrize("shape", [(1, 4), (1, 8), (2, 4), (1, 64), (3, 1)])
def test_new_content_is_never_smaller_than_the_matrices_of_the_suite(
    shape: tuple[int, int],
) -> None:
    """What adds an absolute constant to eigenvalues would be wrong there, and at no other scale."""
    a = batch_of(*shape)
    rotation = Rotation(a, a, seed=0)
    for _ in range(50):
        rotation.new()
    for x in (*rotation.all, *(rotation.new() for _ in range(50))):
        assert x.a.norm() >= 0.999 * a.norm()


@pytest.mark.parametrize(("b", "n"), [(1, 64), (1, 200), (64, 1), (2, 64)])
def test_a_batch_of_one_matrix_has_shifts_enough(b: int, n: int) -> None:
    """A shift of the batch by one, which is none for one matrix, decided that it had few."""
    a = batch_of(b, n)
    rotation = Rotation(a, a, seed=0)
    assert all(rotation.new().powers is None for _ in range(20))


@pytest.mark.parametrize("size", [4, 8])
def test_a_released_layer_with_an_absolute_limit_is_judged_at_the_scale_of_the_suite(
    size: int,
) -> None:
    """Matrices 65,536 times smaller made it inaccurate in every run."""
    cell = replace(
        CELL,
        forward="svd_released",
        size=size,
        batch=1,
        precision="float32",
        problem="logspec(condition=1e6)",
    )
    (found,) = rows(cell, Session(OFTEN))
    assert found.status is Status.OK, found.reason


def test_attack_answers_are_remembered_although_the_first_calls_loaded_a_library(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They then seem too long to be counted a second time; the samples show that they are not."""
    from mssbench.measure import work_of_cell

    asked: list[float] = []
    count_again = work_of_cell.WorkOfCell.count_again

    def first_call_seems_long(self: object, seconds: float) -> bool:
        asked.append(seconds)
        return count_again(self, 1.0 if len(asked) == 1 else seconds)  # type: ignore[arg-type]

    monkeypatch.setattr(work_of_cell.WorkOfCell, "count_again", first_call_seems_long)
    forward(remembering(torch.sqrt, content), "of_numbers")
    (found,) = measured("of_numbers", size=1, batch=2)
    assert len(asked) > 1
    assert found.status is Status.IMPLAUSIBLE
    assert "operators for matrices that the method had not seen, 0 for those seen" in found.reason
