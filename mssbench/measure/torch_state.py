"""Settings of torch that apply to a whole process or thread, with functions to restore them."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch

# The smallest subnormal number, and 1, as names: Python computes a product of literals in advance.
_TINY, _ONE = 5e-324, 1.0
# Names of flags that torch._C reads with `_get_<name>` and writes with `_set_<name>`.
_FLAGS = (
    "cudnn_enabled",
    "cudnn_benchmark",
    "cudnn_deterministic",
    "cudnn_allow_tf32",
    "mkldnn_enabled",
    "mkldnn_deterministic",
    "linalg_preferred_backend",
    "blas_preferred_backend",
    "deterministic_fill_uninitialized_memory",
)


class Setting(NamedTuple):
    """A setting of the process that a method may change, with functions to read and restore it."""

    name: str
    read: Callable[[], Any]
    write: Callable[[Any], object]
    by_imports: bool = False  # whether a change is not reported if modules were imported meanwhile


def _default_device() -> Any:
    context = getattr(torch._GLOBAL_DEVICE_CONTEXT, "device_context", None)
    return context and context.device


def _deterministic() -> tuple[bool, bool]:
    return (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )


def _write_deterministic(before: tuple[bool, bool]) -> None:
    torch.use_deterministic_algorithms(before[0], warn_only=before[1])


def _anomaly() -> tuple[bool, bool]:
    return torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()


def _write_anomaly(before: tuple[bool, bool]) -> None:
    torch.set_anomaly_enabled(*before)


def _flushes() -> bool:
    """Whether this thread flushes subnormal numbers to zero."""
    return _TINY * _ONE == 0.0


def _autocast() -> tuple[Any, ...]:
    kinds = [(torch.is_autocast_enabled(d), torch.get_autocast_dtype(d)) for d in ("cpu", "cuda")]
    return (*kinds, torch.is_autocast_cache_enabled())


def _write_autocast(before: tuple[Any, ...]) -> None:
    *kinds, cached = before
    for device, (enabled, dtype) in zip(("cpu", "cuda"), kinds, strict=True):
        torch.set_autocast_enabled(device, enabled)
        torch.set_autocast_dtype(device, dtype)
    torch.set_autocast_cache_enabled(cached)


def _modes() -> tuple[int, int]:
    return torch._C._len_torch_function_stack(), torch._C._len_torch_dispatch_stack()


def _write_modes(before: tuple[int, int]) -> None:
    while torch._C._len_torch_function_stack() > before[0]:
        torch._C._pop_torch_function_stack()
    while torch._C._len_torch_dispatch_stack() > before[1]:
        torch._C._pop_torch_dispatch_stack(None)


def _flags() -> tuple[Any, ...]:
    return tuple(getattr(torch._C, f"_get_{name}", _nothing)() for name in _FLAGS)


def _write_flags(before: tuple[Any, ...]) -> None:
    for name, value in zip(_FLAGS, before, strict=True):
        if value is not None:
            getattr(torch._C, f"_set_{name}")(value)


def _reduced() -> tuple[Any, ...]:
    kinds = ("fp16", "bf16")
    name = "_get_cublas_allow_{}_reduced_precision_reduction"
    return tuple(getattr(torch._C, name.format(kind), _nothing)() for kind in kinds)


def _write_reduced(before: tuple[Any, ...]) -> None:
    matmul = torch.backends.cuda.matmul
    matmul.allow_fp16_reduced_precision_reduction = before[0]
    matmul.allow_bf16_reduced_precision_reduction = before[1]


def _nothing() -> None:
    """Return None, as the value of a setting that this version of torch does not have."""


def _current_gpu() -> tuple[int, int]:
    """Return the current device and the handle of its current stream; 0 is the default of both."""
    if not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return 0, 0
    return torch.cuda.current_device(), torch.cuda.current_stream().cuda_stream


def _write_current_gpu(before: tuple[int, int]) -> None:
    torch.cuda.set_device(before[0])
    stream = torch.cuda.ExternalStream(before[1]) if before[1] else None  # type: ignore[no-untyped-call]
    torch.cuda.set_stream(stream or torch.cuda.default_stream())


# They are restored in this order: the default device first, because it is one of torch's modes too.
OF_TORCH = (
    Setting("torch's default device", _default_device, torch.set_default_device),
    Setting("modes of torch", _modes, _write_modes),
    Setting("torch's default dtype", torch.get_default_dtype, torch.set_default_dtype),
    Setting("torch's grad mode", torch.is_grad_enabled, torch._C._set_grad_enabled),
    Setting("torch's threads", torch.get_num_threads, torch.set_num_threads),
    # Torch allows this number to be set once, so that a change cannot be undone.
    Setting(
        "torch's threads between operations",
        torch.get_num_interop_threads,
        torch.set_num_interop_threads,
    ),
    Setting("torch's deterministic mode", _deterministic, _write_deterministic),
    Setting("torch's detection of anomalies", _anomaly, _write_anomaly),
    Setting(
        "torch's rule of float32 products",
        torch.get_float32_matmul_precision,
        torch.set_float32_matmul_precision,
    ),
    Setting("torch's reduced sums", _reduced, _write_reduced),
    Setting("torch's autocast", _autocast, _write_autocast),
    Setting("torch's libraries", _flags, _write_flags),
    Setting("the flushing of subnormal numbers", _flushes, torch.set_flush_denormal),
    Setting("torch's current GPU", _current_gpu, _write_current_gpu),
)
