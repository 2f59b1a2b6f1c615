"""What the words on the page mean, for readers who do not have the documentation at hand.

The wording of each is that of docs/reading.md, which a test compares with this table.
"""

from mssbench.records.schema import BY_NAME

TIMES_LIMIT = "time divided by the shortest time for this work on this machine"
# Words and their meanings, in groups with a title.
WORDS: dict[str, dict[str, str]] = {
    "how the measurement of a row ended": {
        "ok": "Measured, and accurate enough.",
        "inaccurate": "Measured; the error exceeds the suite's limit, max_error.",
        "diverged": "Measured; the error exceeds that of the zero matrix.",
        "nonfinite": "Measured; the result contains NaN or infinity. Tables show nan.",
        "implausible": (
            "Measured; faster than the machine's ceilings allow, or with less work or time for "
            "matrices it had seen before than for new ones."
        ),
        "oom": "Not measured: out of memory.",
        "timeout": "Not measured: it exceeded timeout_seconds and was stopped.",
        "crashed": (
            "Not measured: it raised an error, returned something that is no result, or ended "
            "its process."
        ),
        "unsupported": "Not measured: the method or the problem does not exist for this cell.",
        "not_installed": "Not measured: a package is missing.",
        "unavailable": "Not measured: the package is there, but its device or driver is missing.",
        "interrupted": "Not measured: the run ended before this cell.",
        "above_ceiling": (
            "The row is faster than the machine's ceilings allow, but other work ran at the "
            "time. It cannot win."
        ),
        "unverified": (
            "The error of the reference itself exceeds the limit of errors, so that the row "
            "cannot be judged."
        ),
        "other_precision": (
            "The library has computed in another precision than the row's. The row cannot win."
        ),
        "partial": "The method was not measured on every problem that the others were measured on.",
    },
    "kinds of matrix": {
        "easy": (
            "The condition number is at most 1e3. Nearly every method is right on such matrices."
        ),
        "hard": "The condition number is above 1e3, and the matrix is not singular.",
        "singular": (
            "The smallest eigenvalues are lost to rounding: the condition number is above 2^23 "
            "in float32 and shorter precisions, and above 2^52 in float64. Covariances of fewer "
            "samples than dimensions are singular."
        ),
        "repeated": (
            "Eigenvalues are equal, exactly or up to noise. Gradients that divide by "
            "differences of eigenvalues fail here."
        ),
    },
    "phases: what one call computes": {
        "forward": "The root, without recording anything for a gradient.",
        "backward": "The gradient alone, after a forward.",
        "step": "Both together, as in a training step.",
    },
    "clocks: what is timed": {
        "wall": "The time that a caller waits for the result.",
        "gpu": "The time that the device works.",
        "graph": "The time of a replay as a CUDA graph, without the launches.",
    },
    "caches of the device": {
        "hot": "The caches are left as the previous call left them.",
        "cold": "The cache of the GPU is emptied before each sample.",
    },
    "standings on the front of time and error": {
        "front": "On the front, whatever the true times are.",
        "undecided": "Another method is as accurate, and the intervals of both times overlap.",
        "beaten": "Another method is as accurate and certainly faster.",
    },
    "noise of a time": {
        "quiet": "A difference above 3 % counts.",
        "noisy": (
            "A difference above 10 % counts. Rows with a flag of a disturbance are never better "
            "than noisy."
        ),
        "unstable": (
            "No difference below 30 % shows, and none counts in compare. Tables mark such a "
            "time with ~."
        ),
    },
    "columns": {
        "time in products": f"{BY_NAME['gemms'].meaning}.",
        "time ÷ limit": f"{TIMES_LIMIT}.",
    },
}
