"""Cell -> Measurements: every outcome is rows, every number is checked against something else."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from helpers.cells import CELL, FAST, only, rows
from helpers.truths import truth_of

from mssbench import problems
from mssbench.arrays import Array
from mssbench.errors import NotInstalled, Unavailable, Unsupported
from mssbench.measure import code_hash, libraries, verification
from mssbench.measure.admission import classify
from mssbench.measure.bench import Bench
from mssbench.measure.measure import measure
from mssbench.measure.session import Session, Settings
from mssbench.measure.truth import Truth
from mssbench.methods import method, registry
from mssbench.methods.method import Root, Wanted
from mssbench.records.cell import Cell
from mssbench.records.measurement import Status
from mssbench.records.policy import Policy


def misbehaving(register: Any, spoil: Any) -> Cell:
    """A cell whose forward is eigh with its root passed through `spoil`."""
    right = registry.lookup("forward", "eigh").call

    def spoilt(a: Array, wanted: Wanted) -> Root:
        root = right(a, wanted)
        return root._replace(sqrt=spoil(a, root.sqrt))

    register["forward"](cite="a test", products=lambda: 1.0)(spoilt)
    return replace(CELL, forward="spoilt")


def test_a_forward_gives_one_row_with_every_number() -> None:
    (m,) = rows(CELL)
    assert (m.phase, m.clock, m.status, m.reason) == ("forward", "wall", Status.OK, "")
    assert m.timing is not None
    assert m.timing.first_call > 0
    row = m.row()
    for name in ("seconds_median", "gemms", "peak_bytes", "root_error", "residual", "checked"):
        assert row[name] > 0, name
    assert row["root_error"] < 1e-13
    assert row["reference_error"] < 1e-15
    assert row["gradient_error"] is None
    assert row["saved_bytes"] is None


@pytest.mark.parametrize(
    ("library", "precision", "said"),
    [("numpy", "float32", "float64"), ("numpy", "float64", ""), ("torch", "float32", "")],
)
def test_a_row_says_in_which_precision_it_was_computed(
    library: str, precision: str, said: str
) -> None:
    """Where that is its own, which the column `precision` has, it says nothing."""
    cell = replace(CELL, library=library, precision=precision, backward="loewner")
    assert [m.row()["computed_in"] for m in rows(cell)] == [said, said]


@pytest.mark.parametrize("library", ["torch", "numpy"])
@pytest.mark.parametrize("function", ["sqrt", "isqrt"])
def test_a_pair_gives_a_backward_and_a_step(library: str, function: str) -> None:
    cell = replace(CELL, backward="loewner", library=library, function=function)
    backward, step = rows(cell)
    assert (backward.phase, step.phase) == ("backward", "step")
    for m in (backward, step):
        assert m.status is Status.OK, m.reason
        row = m.row()
        assert 0 < row["gradient_error"] < 1e-11
        assert 0 < row["reference_error"] < 1e-13


def test_the_error_is_that_of_the_worst_checked_matrix(register: Any) -> None:
    def one_is_off(a: Array, y: Array) -> Array:
        y = y.clone()
        y[0] = y[0] * 1.01  # the first matrix is always among those checked
        return y

    m = only(misbehaving(register, one_is_off))
    assert m.row()["root_error"] == pytest.approx(0.01, rel=1e-6)


@pytest.mark.parametrize("function", ["sqrt", "isqrt"])
def test_the_mean_absolute_error_is_over_every_entry_of_every_checked_matrix(
    register: Any, function: str
) -> None:
    def one_entry_is_off(a: Array, y: Array) -> Array:
        y = y.clone()
        y[0, 1, 2] += 3.0
        return y

    cell = misbehaving(register, one_entry_is_off)
    assert only(cell).row()["root_mae"] == pytest.approx(3.0 / (4 * 8 * 8), rel=1e-9)
    assert rows(replace(CELL, function=function))[0].row()["root_mae"] < 1e-13


@pytest.mark.parametrize(
    ("spoil", "status", "reason"),
    [
        pytest.param(lambda a, y: y * np.nan, Status.NONFINITE, "4 matrices", id="nan"),
        pytest.param(lambda a, y: y * 1.5, Status.INACCURATE, "root error 0.5", id="wrong"),
        pytest.param(lambda a, y: -y, Status.DIVERGED, "root error 2", id="other-root"),
        pytest.param(lambda a, y: y[..., :3, :3], Status.CRASHED, "shape (4, 3, 3)", id="shape"),
        pytest.param(lambda a, y: y.float(), Status.CRASHED, "dtype float32", id="dtype"),
        pytest.param(lambda a, y: y.numpy(), Status.CRASHED, "numpy", id="library"),
        pytest.param(lambda a, y: a.mul_(1.0001), Status.CRASHED, "wrote into", id="in-place"),
    ],
)
def test_a_misbehaving_forward_is_a_status(
    register: Any, spoil: Any, status: Status, reason: str
) -> None:
    m = only(misbehaving(register, spoil))
    assert m.status is status
    assert reason in m.reason
    measured = status in (Status.NONFINITE, Status.INACCURATE, Status.DIVERGED)
    assert (m.timing is not None) == measured  # it keeps its time, but may not win


def test_a_nonfinite_matrix_is_counted_though_it_is_not_checked(register: Any) -> None:
    def last_is_nan(a: Array, y: Array) -> Array:
        y = y.clone()
        y[-3, 0, 0] = np.inf
        return y

    cell = replace(misbehaving(register, last_is_nan), batch=64)
    m = only(cell)
    assert m.row()["checked"] < 64
    assert (m.status, m.row()["nonfinite"]) == (Status.NONFINITE, 1)


def test_what_is_verified_is_the_output_of_the_last_timed_call(register: Any) -> None:
    calls = iter(range(10_000))
    m = rows(misbehaving(register, lambda a, y: y if next(calls) < 3 else y * 1.5))[0]
    assert m.status is Status.INACCURATE


def test_a_gradient_that_is_wrong_is_seen(register: Any) -> None:
    right = registry.lookup("backward", "loewner").call

    def halved(root: Root, function: method.Function, g: Array) -> Array:
        return right(root, function, g) / 2

    register["backward"](cite="a test", products=lambda: 1.0, reads=("eigen",))(halved)
    for m in rows(replace(CELL, backward="halved")):
        assert m.status is Status.INACCURATE
        assert "gradient error 0.5" in m.reason
        assert m.row()["root_error"] < 1e-13


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        pytest.param({"precision": "tf32"}, "tf32 is a number format", id="tf32-on-cpu"),
        pytest.param({"precision": "bfloat16"}, "eigh does not exist in bfloat16", id="no-half"),
        pytest.param({"library": "numpy", "precision": "float16"}, "numpy has no", id="numpy-half"),
        pytest.param({"library": "numpy", "device": "cuda"}, "numpy does not run", id="numpy-cuda"),
        pytest.param(
            {"library": "numpy", "backward": "autodiff"}, "autodiff has no numpy", id="no-autograd"
        ),
        pytest.param({"forward": "taylor", "function": "isqrt"}, "does not compute", id="no-isqrt"),
        pytest.param(
            {"problem": problems.canonical("wishart(ratio=0.5)"), "function": "isqrt"},
            "no inverse root exists",
            id="singular",
        ),
        pytest.param({"forward": "svd", "options": "driver=gesvd"}, "cuSOLVER", id="driver"),
    ],
)
def test_what_does_not_exist_is_unsupported(changes: dict[str, Any], reason: str) -> None:
    options = {"options": "degree=10 norm=trace"} if changes.get("forward") == "taylor" else {}
    m = only(replace(CELL, **(options | changes)))
    assert m.status is Status.UNSUPPORTED
    assert reason in m.reason
    assert m.timing is None


def test_of_a_singular_matrix_only_the_gradient_that_exists_is_compared() -> None:
    cell = replace(CELL, problem=problems.canonical("wishart(ratio=0.5)"), backward="loewner")
    for m in rows(cell):
        row = m.row()
        assert 0 < row["gradient_error"] < 1e-5
        assert row["reference_error"] < 1e-5
        assert "without the block between null directions" in row["reason"]
        # an eigenvalue of 0 is some u, and its root some √u, here 3e-8; how many is the library's
        assert row["root_error"] < 3e-7
        assert row["seconds_median"] > 0


def test_the_problem_is_the_cast_matrix() -> None:
    """float32 eigh meets the root of the float32 matrix, which is not that of the float64 one."""
    m = only(replace(CELL, precision="float32", problem=problems.canonical("logspec(1e6)")))
    assert m.status is Status.OK
    assert m.row()["reference_error"] < 1e-12


def test_iterations_buy_accuracy() -> None:
    def error(k: int) -> float:
        cell = replace(CELL, forward="newton_schulz", iterations=k, options="norm=trace")
        return float(only(cell).row()["root_error"])

    assert error(3) > 10 * error(7) > 100 * error(12)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Unsupported("x"), Status.UNSUPPORTED),
        (NotInstalled("x"), Status.NOT_INSTALLED),
        (Unavailable("x"), Status.UNAVAILABLE),
        (MemoryError(), Status.OOM),
        (torch.OutOfMemoryError("CUDA out of memory"), Status.OOM),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes"), Status.OOM),
        (torch.linalg.LinAlgError("did not converge"), Status.CRASHED),
        (ValueError(), Status.CRASHED),
    ],
)
def test_exceptions_have_a_status_and_a_reason(error: Exception, status: Status) -> None:
    found, reason = classify(error)
    assert found is status
    assert reason


def test_a_batch_too_large_for_memory_is_oom(register: Any) -> None:
    m = only(misbehaving(register, lambda a, y: y + torch.empty(2**45, dtype=y.dtype)[0]))
    assert m.status is Status.OOM


def test_cupy_without_cupy_is_a_row_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    from mssbench.machine import devices

    found = devices.find_spec
    monkeypatch.setattr(devices, "find_spec", lambda n: None if n == "cupy" else found(n))
    m = only(replace(CELL, library="cupy", device="cuda"))
    assert m.status is Status.NOT_INSTALLED
    assert "pip install 'mssbench[cuda13]'" in m.reason


def test_cupy_without_a_driver_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    from mssbench.machine import devices

    found = devices.find_spec
    monkeypatch.setattr(devices, "find_spec", lambda n: True if n == "cupy" else found(n))
    monkeypatch.setattr(devices, "cuda_devices", lambda: ())
    m = only(replace(CELL, library="cupy", device="cuda"))
    assert m.status is Status.UNAVAILABLE
    assert "driver" in m.reason


def test_the_timeout_starts_when_the_method_does() -> None:
    announced: list[str] = []
    measure(CELL, FAST, lambda: announced.append("now"))
    assert announced == ["now"]
    measure(replace(CELL, precision="tf32"), FAST, lambda: announced.append("again"))
    assert announced == ["now"]


def test_a_share_of_the_policys_time_is_all_that_a_cell_samples_for() -> None:
    """Ten samples' worth of time is wanted; a twentieth of it ends the cell at its time."""
    policy = Policy(min_seconds=2.0, max_seconds=2.0, max_samples=10**6, warmup_seconds=0)
    spent = measure(CELL, Session(Settings(policy)), share=0.05).spent
    assert 0.1 <= spent.samples < 1.0


@pytest.mark.timing
def test_a_product_of_the_same_shape_is_the_unit_of_work(register: Any) -> None:
    """One batched product costs about one gemm: the anchor is what it says."""

    def product(a: Array) -> Root:
        return Root(sqrt=a @ a)

    register["forward"](cite="a test", products=lambda: 1.0, yields=("sqrt",))(product)
    settings = Settings(Policy(min_seconds=0.05, min_samples=10, max_seconds=1))
    cell = replace(CELL, forward="product", size=128, batch=32, precision="float32")
    found = []
    for _ in range(5):  # a loaded machine may disturb either
        found.append(rows(cell, Session(settings))[0].row()["gemms"])
        if 0.6 < found[-1] < 1.8:
            return
    pytest.fail(f"in its own unit a product takes {found}")


def test_garbage_collection_is_on_again_afterwards() -> None:
    import gc

    rows(CELL)
    assert gc.isenabled()


def test_tf32_is_never_left_on() -> None:
    before = torch.get_float32_matmul_precision()
    with libraries.product_rule("tf32"):
        assert torch.get_float32_matmul_precision() == "high"
    with libraries.product_rule("float32"):
        assert torch.get_float32_matmul_precision() == "highest"
    assert torch.get_float32_matmul_precision() == before


def test_the_code_hash_names_the_code_of_both_methods() -> None:
    cells = (
        CELL,
        replace(CELL, backward="loewner"),
        replace(CELL, forward="svd", backward="loewner"),
    )
    assert len({code_hash.code_hash(cell) for cell in cells}) == 3
    assert measure(CELL, FAST).code_hash == code_hash.code_hash(CELL)


def test_the_condition_is_that_of_the_worst_matrix_and_the_input_has_a_fingerprint() -> None:
    m = only(replace(CELL, problem=problems.canonical("logspec(condition=1e4)"))).row()
    assert m["condition"] == pytest.approx(1e4, rel=1e-6)
    assert (
        m["fingerprint"]
        == only(replace(CELL, problem="logspec(condition=1e4)")).row()["fingerprint"]
    )
    others = [
        replace(CELL, seed=1),
        replace(CELL, batch=5),
        replace(CELL, size=9),
        replace(CELL, problem=problems.canonical("wishart(ratio=2.001)")),
    ]
    marks = {only(cell).row()["fingerprint"] for cell in (CELL, *others)}
    assert len({round(x, 4) for x in marks}) == 5


def test_a_fingerprint_survives_rounding_and_no_change_of_the_input() -> None:
    made = problems.make(CELL.problem, 8, 4, 0)
    a, g = np.array(made.master), np.array(made.cotangent)
    mark = verification.fingerprint(a, g)
    rng = np.random.default_rng(0)
    rounded = a * (1 + 1e-13 * rng.standard_normal(a.shape))
    assert verification.fingerprint(rounded, g) == pytest.approx(mark, abs=1e-9)
    assert abs(verification.fingerprint(a[::-1].swapaxes(1, 2)[:, ::-1], g) - mark) > 1e-4
    assert abs(verification.fingerprint(a, -g) - mark) > 1e-4


@pytest.mark.sampled(3)
@pytest.mark.parametrize("number", range(8))
def test_a_method_that_writes_into_one_of_its_inputs_alone_is_found(
    register: Any, number: int
) -> None:
    """Whichever of the eight that take turns it is; its own answer is right every time."""
    right = registry.lookup("forward", "eigh").call
    seen: list[int] = []

    def spoils_one(a: Array, wanted: Wanted) -> Root:
        root = right(a, wanted)
        seen.extend([a.data_ptr()] * (a.data_ptr() not in seen))
        # the input of the very first call is the one that has no turn; `fresh` is none of them
        rotating = {x.a.data_ptr(): i for i, x in enumerate(rotation_of(settings).all)}
        if rotating.get(a.data_ptr()) == number:
            a[-1, -1, 0] += 1e-13
        return root

    register["forward"](cite="a test", products=lambda: 1.0)(spoils_one)
    settings = Session(
        Settings(Policy(min_seconds=0, min_samples=16, max_samples=16, warmup_seconds=0))
    )
    m = only(replace(CELL, forward="spoils_one"), settings)
    assert len(seen) >= 8
    assert m.status is Status.CRASHED
    assert m.reason == "Violation: spoils_one wrote into its input: work on a copy"


def rotation_of(session: Session) -> Any:
    """The inputs of the cell that is being measured."""
    return session.batch._rotation


def test_a_backward_that_writes_into_its_cotangent_is_found(register: Any) -> None:
    right = registry.lookup("backward", "loewner").call

    def spoils(root: Root, function: method.Function, g: Array) -> Array:
        s = right(root, function, g)
        g[0, 0, 1] += 1e-13
        return s

    register["backward"](cite="a test", products=lambda: 1.0, reads=("eigen",), symmetrizes=True)(
        spoils
    )
    for m in rows(replace(CELL, backward="spoils", library="numpy")):
        assert m.status is Status.CRASHED
        assert m.reason == "Violation: spoils wrote into its cotangent: work on a copy"


@pytest.mark.parametrize("options", ["ridge=0.1", "rtol=1e-06"])
@pytest.mark.parametrize("library", ["torch", "numpy"])
@pytest.mark.parametrize("function", ["sqrt", "isqrt", "isqrt_b"])
def test_a_singular_matrix_is_judged_by_the_root_that_was_asked_for(
    function: str, library: str, options: str
) -> None:
    """Without a ridge or a tolerance it has no inverse root, and its root has no whole gradient."""
    if function == "isqrt_b" and library == "numpy":
        pytest.skip("A^{-1/2} b is measured in torch alone")
    cell = replace(CELL, problem="wishart(ratio=0.5)", size=8, function=function, library=library)
    asked = replace(cell, backward="loewner", options=options)
    for m in rows(asked):
        assert (m.status, m.reason) == (Status.OK, "")
        assert m.row()["root_error"] < 1e-12
        assert m.row()["gradient_error"] < 1e-11
        assert m.row()["condition"] < 1e4
        if function == "isqrt":
            assert m.row()["residual"] < 1e-10
    without = rows(replace(cell, backward="loewner", options=""))
    reasons = {m.reason for m in without}
    if function == "sqrt":
        assert reasons == {"A is singular: compared without the block between null directions"}
    else:
        assert reasons == {"no inverse root exists: A is singular in this precision"}


@pytest.mark.sampled(6)
@pytest.mark.parametrize(
    ("forward", "backward", "limit"),
    [
        ("from_features", "autodiff", 1e-12),
        ("eigh", "loewner", 1e-12),
        ("newton_schulz", "autodiff", 1e-6),
    ],
)
@pytest.mark.parametrize("problem", ["wishart(ratio=0.5)", "wishart(ratio=1.5)", "convfeat"])
@pytest.mark.parametrize("size", [8, 1])
def test_a_root_of_features_is_timed_from_them_and_judged_by_their_gradient(
    problem: str, forward: str, backward: str, limit: float, size: int
) -> None:
    iterations = 25 if forward == "newton_schulz" else None
    cell = replace(
        CELL,
        function="sqrt_x",
        forward=forward,
        backward="none",
        problem=problem,
        size=size,
        iterations=iterations,
        options="norm=frobenius" if iterations else "",
    )
    (alone,) = rows(cell)
    paired = rows(replace(cell, backward=backward))
    for m in (alone, *paired):
        assert m.status is Status.OK, m.reason
        assert m.row()["root_error"] < limit
        assert m.row()["residual"] < limit
        assert m.row()["products"] > 0
    assert [m.phase for m in paired] == ["backward", "step"]
    assert paired[1].row()["gradient_error"] < limit
    singular = problem == "wishart(ratio=0.5)" and size > 1
    assert (paired[1].row()["condition"] is None) is singular


def test_what_cannot_be_measured_from_features_says_why() -> None:
    cell = replace(CELL, function="sqrt_x", forward="from_features", backward="autodiff")
    for change, reason in (
        ({"backward": "loewner"}, "it pairs with autodiff, not loewner"),
        ({"library": "numpy"}, "from_features has no numpy version"),
        ({"library": "numpy", "forward": "eigh", "backward": "none"}, "torch only"),
        ({"function": "sqrt"}, "measure it with function = sqrt_x"),
        ({"function": "isqrt"}, "measure it with function = sqrt_x"),
        ({"forward": "eigh", "backward": "loewner", "options": "ridge=0.1"}, "not to sqrt_x"),
    ):
        for m in rows(replace(cell, **change)):
            assert m.status is Status.UNSUPPORTED
            assert reason in m.reason


def test_a_gradient_to_features_that_is_wrong_is_found(register: Any) -> None:
    """A pair that leaves the factor of two out, and one that keeps its first answer."""

    @register["forward"](
        cite="a test", products=lambda: 1.0, yields=(), of_features=lambda x: halved(x)
    )
    def half(a: Array) -> Root:
        raise AssertionError(a)

    def halved(x: Array) -> Array:
        y = x @ x.mT / x.shape[-1]
        return torch.linalg.cholesky(y + 1e-3 * torch.eye(x.shape[-2], dtype=x.dtype))

    cell = replace(CELL, function="sqrt_x", forward="half", backward="autodiff", size=8)
    for m in rows(cell):
        assert m.status in (Status.INACCURATE, Status.DIVERGED)


TRUTH = truth_of("sqrt", CELL.problem, 4, 2, "float64")


def known_to(root: float = 0.0, gradient: float = 0.0) -> Truth:
    """A truth whose reference may be off by this much."""
    reference = replace(TRUTH.reference, error_sqrt=root)
    return replace(TRUTH, reference=reference, gradient_error=gradient)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (0.149, "ok"),
        (0.151, "inaccurate"),
        (1.049, "inaccurate"),
        (1.051, "diverged"),
        (float("nan"), "diverged"),
    ],
)
@pytest.mark.parametrize("phase", ["forward", "step"])
def test_what_the_reference_itself_may_be_off_by_is_not_held_against_a_method(
    phase: str, error: float, status: str
) -> None:
    """With a reference known to 0.05, both limits, max_error of 0.1 and 1, lie 0.05 higher."""
    values = {"root_error": 0.0, "gradient_error": 0.0, "nonfinite": 0}
    values["root_error" if phase == "forward" else "gradient_error"] = error
    unsure = known_to(root=0.05) if phase == "forward" else known_to(gradient=0.05)
    found, why = unsure.judge(phase, dict(values), 0.1)
    assert str(found) == status
    assert (f"error {error:.2g} exceeds" in why) is (status != "ok")
    assert TRUTH.judge(phase, dict(values), 0.1)[0] is not Status.OK


def test_a_doubt_about_the_gradient_is_none_about_the_root_and_the_other_way_round() -> None:
    """The stored fault: `ok` at a root error of 0.71, as the gradient was known to 0.99 only."""
    values = {"root_error": 0.71, "gradient_error": 0.99, "nonfinite": 0}
    unsure = known_to(gradient=0.99)
    found = unsure.judge("step", dict(values), 0.1)
    assert (str(found[0]), found[1]) == ("inaccurate", "root error 0.71 exceeds 0.1")
    assert unsure.judge("step", values | {"root_error": 0.0}, 0.1)[0] is Status.OK

    unsure = known_to(root=0.7)
    assert unsure.judge("step", values | {"gradient_error": 0.0}, 0.1)[0] is Status.OK
    found = unsure.judge("step", dict(values), 0.1)
    assert (str(found[0]), found[1]) == ("inaccurate", "gradient error 0.99 exceeds 0.1")


def test_a_reference_that_is_not_known_to_the_limit_itself_cannot_judge() -> None:
    assert TRUTH.can_judge("forward", 0.1)
    assert TRUTH.can_judge("step", 0.1)
    unsure = known_to(gradient=0.11)
    assert unsure.can_judge("forward", 0.1)  # it computes no gradient
    assert not unsure.can_judge("step", 0.1)
    assert unsure.can_judge("step", 0.2)
    assert not known_to(root=0.11).can_judge("forward", 0.1)
    assert not known_to(root=0.11).can_judge("backward", 0.1)


def test_such_rows_are_flagged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Truth, "can_judge", lambda _, phase, limit: phase == "backward")
    found = {m.phase: m.row()["flags"].split() for m in rows(replace(CELL, backward="loewner"))}
    assert ["unverified" in found[phase] for phase in ("backward", "step")] == [False, True]


def test_the_worse_of_root_and_gradient_is_the_status_and_the_first_of_them_the_reason() -> None:
    def judged(root: float, gradient: float, **more: Any) -> tuple[str, str]:
        values = {"root_error": root, "gradient_error": gradient, "nonfinite": 0} | more
        status, why = TRUTH.judge("step", values, 0.1)
        return str(status), why

    assert judged(0.2, 0.3) == ("inaccurate", "root error 0.2 exceeds 0.1")
    assert judged(0.2, 3.0) == ("diverged", "gradient error 3 exceeds 1")
    assert judged(0.0, 0.3) == ("inaccurate", "gradient error 0.3 exceeds 0.1")
    assert judged(0.1, 0.1) == ("ok", "")
    lost = judged(9.0, 9.0, gradient_nonfinite=3)
    assert lost == ("nonfinite", "3 matrices of the gradient have a nan or inf")
    values = {"root_error": 9.0, "gradient_error": 9.0, "nonfinite": 1, "gradient_nonfinite": 2}
    assert TRUTH.judge("step", values, 0.1)[1].startswith("1 matrices of the root")
    assert values["nonfinite"] == 2  # of root and gradient the more
    assert "gradient_nonfinite" not in values


def test_a_process_that_a_capture_has_harmed_is_lost_whatever_is_raised_after_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def harms(bench: Any) -> Any:
        bench.spoilt = True
        raise ZeroDivisionError

    assert not measure(CELL, FAST).lost
    monkeypatch.setattr(Bench, "run", harms)
    found = measure(CELL, FAST)
    assert found.lost
    assert {m.status for m in found.measurements} == {Status.CRASHED}
