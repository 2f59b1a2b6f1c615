"""The emulator itself: what would hang or race on a GPU is an error in it."""

import ctypes
import subprocess
from pathlib import Path

import pytest
from helpers import emulated

_KERNEL = """
#include "tensor_cores.h"
struct Tile { float v[2][4][4]; };
struct Left { float v[2][4]; };
struct Right { float v[4][2]; };
using T = float;
void kernel() {
  Tile d = {};
  Left x = {};
  Right v = {};
  WHAT
}
extern "C" int run(EMULATED_LAUNCH) { EMULATED(kernel()); }
"""


@pytest.mark.sampled(2, slow=0)
@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("mma_tf32(d, x, v); MSS_BARRIER(LAST);", ""),
        (
            "if (threadIdx.x % 2) mma_tf32(d, x, v); else mma_bfloat16(d, x, x, v, v);",
            "a warp part",
        ),
        ("if (threadIdx.x % 2) mma_tf32(d, x, v); else MSS_BARRIER(LAST);", "threads part at"),
        ("if (threadIdx.x > 40) mma_tf32(d, x, v);", "threads part at"),
        ("if (threadIdx.x / 32) MSS_BARRIER(FIRST); else MSS_BARRIER(LAST);", "threads part at"),
        ("MSS_DYNAMIC_SHARED(char, shared); shared[64] = 0;", "outside of the shared memory"),
    ],
    ids=["all meet", "two instructions", "half a warp", "some of a warp", "two barriers", "fence"],
)
def test_threads_that_part_are_an_error(tmp_path: Path, what: str, said: str) -> None:
    cpp, library = tmp_path / "kernel.cpp", tmp_path / "kernel.so"
    cpp.write_text(_KERNEL.replace("WHAT", what))
    command = ["g++", "-std=c++17", "-fPIC", "-shared", "-I", emulated.HERE, "-o", library, cpp]
    subprocess.run(list(map(str, command)), check=True)
    loaded = ctypes.CDLL(str(library))
    loaded.emulated_message.restype = ctypes.c_char_p
    done = loaded.run(
        ctypes.c_uint(1), ctypes.c_uint(64), ctypes.c_size_t(64), ctypes.c_uint(0), b""
    )
    assert done == bool(said)
    assert said in loaded.emulated_message().decode()
