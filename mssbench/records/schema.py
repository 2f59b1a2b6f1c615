"""The columns of a result table: name, group, type, unit and meaning."""

from typing import NamedTuple

from mssbench.records import units

SMALLER, LARGER = "smaller", "larger"  # the values of Column.better
# The columns by which methods can be ranked. The other numbers describe the measurement (samples,
# spread), do not depend on the method (limit_seconds), or also improve with needless work
# (limit_fraction). The condition belongs to the problem, so that methods on one problem tie.
_BETTER = {
    "seconds_min": SMALLER,
    "seconds_q1": SMALLER,
    "seconds_median": SMALLER,
    "seconds_q3": SMALLER,
    "seconds_low": SMALLER,
    "seconds_high": SMALLER,
    "first_call_seconds": SMALLER,
    "gemms": SMALLER,
    "products": SMALLER,
    "operators": SMALLER,
    "launches": SMALLER,
    "flops": SMALLER,
    "problem_fraction": LARGER,
    "peak_bytes": SMALLER,
    "saved_bytes": SMALLER,
    "root_error": SMALLER,
    "root_mae": SMALLER,
    "residual": SMALLER,
    "gradient_error": SMALLER,
    "asymmetry": SMALLER,
    "condition": SMALLER,
}


# Columns of the group `error` that describe a result and are no errors. They are written with three
# digits, while an error, which is an estimate, has one.
_DESCRIBING = ("amplification", "tail_weight")


class Column(NamedTuple):
    """One column of the result table: its name, group, type, unit and meaning.

    The properties say how its values are written, which of two values is better, and how several
    values are pooled.
    """

    name: str
    group: str  # key | outcome | time | work | memory | error | identity
    kind: str  # str | int | float | bool
    unit: str
    meaning: str

    @property
    def better(self) -> str:
        """Which values are better, SMALLER or LARGER; empty if the column does not rank methods."""
        return _BETTER.get(self.name, "")

    @property
    def written(self) -> str:
        """The name of the function that formats the column's values, a key of units.WRITERS."""
        if self.group == "error" and self.unit == "1" and self.name not in _DESCRIBING:
            return "error"
        return {"s": "seconds", "B": "size"}.get(self.unit, "number")

    @property
    def pooled(self) -> str:
        """How the values of several rows are pooled: their `median`, or the `worst` of them.

        Empty for a column whose values are not pooled.
        """
        words = {"time": "median", "work": "median", "memory": "worst", "error": "worst"}
        return words.get(self.group, "")

    def text(self, x: float | None) -> str:
        """Return a value as text, with its unit. An error is an estimate, and has one digit."""
        return units.WRITERS[self.written](x)

    def figure(self, x: float | None) -> str:
        """Return a value as `text` does, but an error with three digits, to tell two apart."""
        return units.number(x) if self.written == "error" else self.text(x)


# Columns that each version of the schema added: 2, root_mae; 3, passes, noise, counts and limits;
# 4, fingerprint and condition, which show whether two runs had the same input and how far its
# rounding may change the result; 5, amplification, tail_weight and computed_in.
SCHEMA_VERSION = 5
CONDITION_SINCE = 4  # the version that introduced the column `condition`
SCHEMA: tuple[Column, ...] = (
    Column("library", "key", "str", "", "array library"),
    Column("forward", "key", "str", "", "method that computes the root"),
    Column("backward", "key", "str", "", "method that computes the gradient, or none"),
    Column(
        "function",
        "key",
        "str",
        "",
        "sqrt; isqrt; isqrt_b: A^{-1/2} b of a vector; sqrt_x: (X Xᵀ / M)^{1/2} from features X; "
        "whiten: W with W A Wᵀ = I; log: log A",
    ),
    Column("problem", "key", "str", "", "generator of the matrices with its parameters"),
    Column("size", "key", "int", "", "n of (batch, n, n)"),
    Column("batch", "key", "int", "", "number of matrices in the batch"),
    Column("iterations", "key", "int", "", "steps of the forward; null for a direct method"),
    Column("backward_iterations", "key", "int", "", "steps of the backward; null if direct"),
    Column("options", "key", "str", "", "all other parameters of the pair"),
    Column("precision", "key", "str", "", "number format of storage and of products"),
    Column("device", "key", "str", "", "cpu or cuda"),
    Column("seed", "key", "int", "", "seed of the problem"),
    Column("phase", "key", "str", "", "forward, backward, or step (both)"),
    Column("clock", "key", "str", "", "wall (time of the caller), gpu (device) or graph (replay)"),
    Column("cache", "key", "str", "", "cold: flushed before each sample; hot: left as it is"),
    Column("status", "outcome", "str", "", "how the measurement ended"),
    Column("reason", "outcome", "str", "", "why it ended so, or what to do"),
    Column("seconds_min", "time", "float", "s", "fastest sample, per call"),
    Column("seconds_q1", "time", "float", "s", "lower quartile"),
    Column("seconds_median", "time", "float", "s", "median"),
    Column("seconds_q3", "time", "float", "s", "upper quartile"),
    Column("seconds_low", "time", "float", "s", "95 % interval of the median, lower end"),
    Column("seconds_high", "time", "float", "s", "95 % interval of the median, upper end"),
    Column("samples", "time", "int", "", "number of samples"),
    Column("calls", "time", "int", "", "calls per sample"),
    Column("stop", "time", "str", "", "why sampling ended: precision, max_seconds, max_samples"),
    Column("passes", "time", "int", "", "passes over the suite whose samples are pooled here"),
    Column("spread", "time", "float", "1", "relative difference between the medians of the passes"),
    Column("noise", "time", "str", "", "quiet, noisy or unstable: which difference counts"),
    Column("host_sync", "time", "bool", "", "whether the call itself waits for the device"),
    Column("flags", "time", "str", "", "what may have disturbed the times: loaded, throttled, ..."),
    Column(
        "first_call_seconds", "time", "float", "s", "the first call, with loading and compiling"
    ),
    Column("gemms", "work", "float", "1", "median / time of one batched product of the same shape"),
    Column("products", "work", "float", "1", "batched products of n x n matrices in one call"),
    Column("operators", "work", "int", "", "array operations of one call"),
    Column("launches", "work", "int", "", "kernels of one call, if it can be captured as a graph"),
    Column("computed_in", "work", "str", "", "precision of the computation, if not the row's"),
    Column("flops", "work", "float", "1", "floating-point operations of the products of one call"),
    Column("limit_seconds", "work", "float", "s", "shortest time for this work on this machine"),
    Column("limit_fraction", "work", "float", "1", "limit_seconds / seconds_median"),
    Column("problem_fraction", "work", "float", "1", "lowest limit at that error / seconds_median"),
    Column("bound", "work", "str", "", "what sets limit_seconds: compute, memory or launches"),
    Column("peak_bytes", "memory", "float", "B", "largest extra memory during one call"),
    Column("saved_bytes", "memory", "float", "B", "kept from forward to backward, root included"),
    Column("root_error", "error", "float", "1", "||Y - Y*|| / ||Y*||, Frobenius, worst checked"),
    Column("root_mae", "error", "float", "1", "mean |Y - Y*| per entry, mean over the checked"),
    Column("residual", "error", "float", "1", "||Y Y - A|| / ||A|| or ||Z A Z - I|| / ||I||"),
    Column("gradient_error", "error", "float", "1", "||S - S*|| / ||S*||, worst checked"),
    Column("amplification", "error", "float", "1", "||S|| / ||G||, gradient S, cotangent G, worst"),
    Column(
        "tail_weight", "error", "float", "1", "share of the small eigenvalues in Y / that in Y*"
    ),
    Column("asymmetry", "error", "float", "1", "||Y - Yt|| / ||Y||, worst checked"),
    Column("nonfinite", "error", "int", "", "matrices of the batch with a nan or inf"),
    Column("reference_error", "error", "float", "1", "estimated error of the reference itself"),
    Column("condition", "error", "float", "1", "condition number of A, worst checked"),
    Column("checked", "error", "int", "", "matrices compared with the reference"),
    Column("fingerprint", "identity", "float", "1", "of the input; the same on every machine"),
    Column("cell_id", "identity", "str", "", "identifies the cell, the same on every machine"),
    Column("code_hash", "identity", "str", "", "hash of the code that was measured"),
    Column("environment", "identity", "str", "", "hash of the machine, key in environment.json"),
    Column("run_id", "identity", "str", "", "the run that measured it"),
    Column("schema", "identity", "int", "", "version of these columns"),
)
COLUMNS: tuple[str, ...] = tuple(c.name for c in SCHEMA)
KEY: tuple[str, ...] = tuple(c.name for c in SCHEMA if c.group == "key")
BY_NAME: dict[str, Column] = {c.name: c for c in SCHEMA}


def error_column(phase: str) -> str:
    """Return the name of a phase's error column: root_error for `forward`, else gradient_error."""
    return "root_error" if phase == "forward" else "gradient_error"
