"""Check that the output of a method is a plain array like its input, stored in memory."""

from typing import Any

from mssbench import arrays
from mssbench.arrays import Array
from mssbench.measure.admission import Violation


def require_like(name: str, x: Any, shape: tuple[int, ...], a: Array) -> None:
    """Raise Violation for an output that is not a plain array like the input `a`.

    name: `root` or `gradient`, for the message.
    x: the output.
    shape: the shape that the output must have.

    An array of a subclass, or a tensor without memory, could postpone its computation until it is
    read. An output on another device was moved there, or was not computed on the device of the
    cell.
    """
    if type(x) is not type(a) and not _is_parameter(x, a):
        raise Violation(
            f"the {name} is a {_kind(x)}, not a {_kind(a)}: return an array of the input's type"
        )
    if tuple(x.shape) != shape:
        raise Violation(f"the {name} has shape {tuple(x.shape)}, not {shape}")
    if x.dtype != a.dtype:
        dtype, expected = arrays.dtype_name(x), arrays.dtype_name(a)
        raise Violation(
            f"the {name} has dtype {dtype}, not {expected}: convert it to the dtype of the input"
        )

    if arrays.library(a) != "numpy" and x.device != a.device:
        raise Violation(
            f"the {name} is on {x.device}, not on {a.device}: compute it on the device of the input"
        )
    if arrays.library(a) == "torch":
        _require_memory(name, x)


def _require_memory(name: str, x: Any) -> None:
    """Raise Violation for a tensor that has no memory, or whose memory does not hold its values.

    The latter is a lazy view: torch only marks it as negated, conjugated or zero, and computes its
    values when it is read. Its method `clone()` returns a tensor that holds its values.
    """
    import torch

    if x.layout is not torch.strided:
        raise Violation(
            f"the {name} is a tensor of layout {x.layout}, not torch.strided: "
            "return its `to_dense()`"
        )
    if x._is_zerotensor() or x.is_neg() or x.is_conj():
        raise Violation(
            f"the {name} is a lazy view, which torch only marks as negated, conjugated or zero: "
            "return its `clone()`"
        )
    if torch._C._functorch.is_functorch_wrapped_tensor(x):
        raise Violation(
            f"the {name} is a tensor of torch.func, a wrapper without values of its own: return "
            "the plain tensor, without a transform of torch.func around it"
        )
    storage = x.untyped_storage()
    if x.numel() and (not storage.nbytes() or storage.device != x.device):
        raise Violation(
            f"the {name} has no memory on {x.device}: return a tensor that holds its values"
        )


def _is_parameter(x: Any, a: Array) -> bool:
    """Whether `x` is a torch Parameter, a Tensor in all but type, and `a` is a torch Tensor."""
    if arrays.library(a) != "torch":
        return False
    import torch

    return type(x) is torch.nn.Parameter and type(a) is torch.Tensor


def _kind(x: object) -> str:
    """Return the full name of the type of `x`."""
    return f"{type(x).__module__}.{type(x).__name__}"
