"""Matrices, exact answers and the list of calls that the tests of the methods share."""

from functools import cache
from importlib.util import find_spec
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from mssbench import arrays
from mssbench.errors import Unsupported
from mssbench.methods import method as method_
from mssbench.methods import pair as roots
from mssbench.methods import registry
from mssbench.testing.matrices import UNIT, exact_root, symmetric


class Backend(NamedTuple):
    """Where and in which precision a test computes."""

    library: str
    device: str
    precision: str

    def put(self, x):
        """A float64 numpy array as one of this backend."""
        return arrays.from_numpy(x, like=arrays.empty(*self))

    def __str__(self):
        return "-".join(self)

    def require(self):
        """Skip the test on a machine that lacks the package or the device."""
        if self.library == "cupy":
            pytest.importorskip("cupy", reason="cupy is not installed")
        if not _has_device(self.library, self.device):
            pytest.skip(f"{self.library} has no CUDA device here")


@cache
def _has_device(library, device):
    if device == "cpu":
        return True
    if library == "torch":
        return torch.cuda.is_available()
    if find_spec("cupy") is None:
        return False
    import cupy

    try:
        return cupy.cuda.runtime.getDeviceCount() > 0
    except cupy.cuda.runtime.CUDARuntimeError:
        return False


BACKENDS = [
    Backend(library, device, precision)
    for library in arrays.LIBRARIES
    for device in arrays.DEVICES[library]
    for precision in arrays.PRECISIONS[library]
    if precision != "tf32"  # float32 storage; its products differ on a GPU only
]
TORCH64 = Backend("torch", "cpu", "float64")


registry.load()
# Methods of one device, which say so when called on another.
ONLY_ON = {
    m.name: m.devices[0]
    for known in registry.REGISTRIES.values()
    for m in known.known().values()
    if m.devices
}


# Forwards that are functions of a newer torch, which say so when called with an older one.
ABSENT = set() if hasattr(torch.linalg, "matrix_sqrth") else {"matrix_sqrth"}


# Wrong without a number of steps too: rounding grows before it has converged, as it says itself.
UNSTABLE_DEFAULTS = {"newton_inverse"}


class Call(NamedTuple):
    """A pair and the root it is asked for."""

    forward: str
    backward: str
    function: str

    def __str__(self):
        return "-".join(self)

    @property
    def exact(self):
        """Whether some choice of parameters makes root and gradient exact."""
        return not any(method.inexact for method in self.methods)

    def fit(self, size):
        """`size`, or the largest one that the forward takes."""
        sizes = self.methods[0].sizes
        return size if not sizes or size in sizes else max(sizes)

    @property
    def methods(self):
        return registry.lookup("forward", self.forward), registry.lookup("backward", self.backward)

    def runs_on(self, backend):
        """Whether both methods declare the backend."""
        here = all(ONLY_ON.get(name, backend.device) == backend.device for name in self[:2])
        return (
            here
            and self.forward not in ABSENT
            and all(
                backend.library in m.libraries and backend.precision in m.precisions
                for m in self.methods
            )
        )

    def pair(self, **parameters):
        """The pair with enough steps to be exact, unless `parameters` says otherwise."""
        forward, backward = self.methods
        given = {
            **generous(forward),
            **{f"backward_{name}": value for name, value in generous(backward).items()},
            **parameters,
        }
        return roots.pair(self.function, self.forward, self.backward, tuple(sorted(given.items())))


def generous(method):
    """Parameters that make a method exact on a spectrum near 1, and an iteration on any."""
    # what plans its interval takes a wider one for more steps, and rounds more
    k = 5 if "lower" in method.parameters else 20
    enough = {"iterations": k, "finish": 1, "degree": 16, "norm": "wolkowicz_styan"}
    enough["tail"] = enough["drop"] = 1  # eigenvalues that a truncation abandons
    if method.name == "chebyshev":
        enough |= {"degree": 26, "lower": 0.5}  # of a spectrum near 1
    enough["sketch_size"] = 0  # a sketch is of this basis, so a rotation would change the root
    return {name: value for name, value in enough.items() if takes(method, name, value)}


def takes(method, name, value):
    """Whether a method has a parameter that may have this value."""
    parameter = method.parameters.get(name)
    return parameter is not None and (not parameter.choices or value in parameter.choices)


def _is_computed(call):
    try:
        call.pair()
    except Unsupported:
        return False
    return True


def _calls():
    registry.load()
    everything = [
        Call(forward, backward, function)
        for forward in registry.known("forward")
        for backward in registry.known("backward")
        for function in method_.FUNCTIONS
    ]
    return [c for c in everything if _is_computed(c)], [
        c for c in everything if not _is_computed(c)
    ]


EVERY, REFUSED = _calls()
CALLS = [call for call in EVERY if call.runs_on(TORCH64)]


def every_method_once(calls):
    """Parameters for all calls: marked slow but for those that bring a method not seen before."""
    seen, found = set(), []
    for call in calls:
        methods_of_call = {
            ("forward", call.forward, call.function),
            ("backward", call.backward, call.function),
        }
        marks = [pytest.mark.slow] if methods_of_call <= seen else []
        seen |= methods_of_call
        found.append(pytest.param(call, id=str(call), marks=marks))
    return found


def on_backends(precisions=tuple(UNIT), libraries=arrays.LIBRARIES, *, exact=False, thin=()):
    """Parametrise `call, backend` over what the methods declare, or over the exact ones.

    A backend that this machine lacks is skipped once, not once per call. Some calls are tested by
    default only if they bring a method that was not met before, and the others by `.ci/slow`:
    those in the precisions `thin`, those of a layer as its authors released it, and those of NumPy
    in float32, which computes what it does in float64, and rounds.
    """
    runs = []
    met = set()
    for backend in BACKENDS:
        if backend.precision in precisions and backend.library in libraries:
            able = [c for c in EVERY if c.runs_on(backend) and (c.exact or not exact)]
            for call in able if _has_device(backend.library, backend.device) else able[:1]:
                names = (call.forward, call.backward)
                methods = {(str(backend), call.function, place, m) for place, m in enumerate(names)}
                rounds = (backend.library, backend.precision) == ("numpy", "float32")
                released = any(name.endswith("_released") for name in names)
                spared = (rounds or released or backend.precision in thin) and methods <= met
                met |= methods
                marks = [pytest.mark.gpu] if backend.device == "cuda" else []
                marks += [pytest.mark.exhaustive] if spared else []
                runs.append(pytest.param(call, backend, id=f"{call}-{backend}", marks=marks))
    return pytest.mark.parametrize(("call", "backend"), runs)


FORWARDS = list(registry.known("forward").values())
# Those that compute a root of A; others take features, see tests/methods/test_features.py.
ON_CPU = [
    m for m in FORWARDS if ONLY_ON.get(m.name) != "cuda" and m.name not in ABSENT and m.functions
]
BACKWARDS = list(registry.known("backward").values())
BACKWARDS_ON_CPU = [m for m in BACKWARDS if ONLY_ON.get(m.name) != "cuda"]
METHODS = FORWARDS + BACKWARDS
# Truncated series converge where the spectrum is narrow; elsewhere they have laws of their own.
SERIES = ("chebyshev", "pade", "pade_half", "taylor", "taylor_paterson_stockmeyer")


def put(x, method):
    """A numpy array as one that the method takes, in float64 on the CPU."""
    return x if "numpy" in method.libraries else TORCH64.put(x)


def kronecker_gradient(a, g, function):
    """The same by one dense linear solve, knowing no eigenvectors but those of the root."""
    y, g = exact_root(a, "sqrt"), symmetric(g)
    eye = np.eye(len(a))
    if function == "isqrt":
        z = np.linalg.inv(y)
        g = -z @ g @ z
    return np.linalg.solve(np.kron(eye, y) + np.kron(y, eye), g.reshape(-1)).reshape(a.shape)


def hold(checks, *given):
    """Call every check, though one before it has failed; each failure says whose it is."""
    failures = []
    for check in checks:
        try:
            check(*given)
        except Exception as failure:
            name = getattr(check, "func", check).__name__
            failure.add_note(f"in {name}")
            failures.append((name, failure))
    if failures:
        names = ", ".join(name for name, _ in failures)
        raise ExceptionGroup(f"does not hold: {names}", [failure for _, failure in failures])


class Cost(TorchDispatchMode):
    """Adds up batched products; an inverse or a solve is 8/3 n³ flop, that is 4/3 of one.

    A matrix times a vector is not counted.
    """

    COSTS = {  # noqa: RUF012
        "bmm": 1.0,
        "baddbmm": 1.0,
        "linalg_inv_ex": 4 / 3,
        "_linalg_solve_ex": 4 / 3,
        "linalg_lu_factor_ex": 1 / 3,
        "linalg_lu_solve": 1.0,
    }

    def __init__(self):
        super().__init__()
        self.total = 0.0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        a, b = args if len(args) == 2 else (*args, None)[:1] * 2
        if isinstance(a, torch.Tensor) and a.ndim == 3 and a.shape == getattr(b, "shape", None):
            self.total += self.COSTS.get(func.overloadpacket.__name__, 0.0)
        return func(*args, **(kwargs or {}))
