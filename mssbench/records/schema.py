"""The columns of a result table: name, group, type, unit and meaning."""

from typing import NamedTuple

from mssbench import units

SMALLER, LARGER = "smaller", "larger"  # the values of Column.better
# The columns by which methods can be ranked. Of the others some describe the measurement (samples,
# spread), and some are not the method's doing (limit_seconds) or are reached by needless work too
# (limit_fraction). The condition is that of the problem, so that methods on one problem tie.
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


# They describe a result and are no errors: their digits are not those of an estimate.
_DESCRIBING = ("amplification", "tail_weight")


class Column(NamedTuple):
    """One column of the table: the group it belongs to, its type, its unit and its meaning.

    How a value is written, which of two values is better, and what stands for several of them are
    answered here, once for all readers.
    """

    name: str
    group: str  # key | outcome | time | work | memory | error | identity
    kind: str  # str | int | float | bool
    unit: str
    meaning: str

    @property
    def better(self) -> str:
        """Which of two values speaks for a method, SMALLER or LARGER; empty where neither does."""
        return _BETTER.get(self.name, "")

    @property
    def written(self) -> str:
        """The writer of its values, a key of units.WRITERS."""
        if self.group == "error" and self.unit == "1" and self.name not in _DESCRIBING:
            return "error"
        return {"s": "seconds", "B": "size"}.get(self.unit, "number")

    @property
    def pooled(self) -> str:
        """What stands for the values of several rows: their `median`, or the `worst` of them.

        Empty for a column whose values are not pooled.
        """
        words = {"time": "median", "work": "median", "memory": "worst", "error": "worst"}
        return words.get(self.group, "")

    def text(self, x: float | None) -> str:
        """A value for people, with its unit. An error has one digit, as it is an estimate."""
        return units.WRITERS[self.written](x)

    def figure(self, x: float | None) -> str:
        """A value that is compared with another one: as `text`, but an error has three digits."""
        return units.number(x) if self.written == "error" else self.text(x)


# History of the schema: 1, the first; 2, root_mae; 3, passes, noise, counts, limits; 4, what tells
# whether two runs had the same input, and how far its rounding may carry; 5, amplification,
# tail_weight and computed_in.
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
    Column("batch", "key", "int", "", "matrices in the batch"),
    Column("iterations", "key", "int", "", "steps of the forward; null for a direct method"),
    Column("backward_iterations", "key", "int", "", "steps of the backward; null if direct"),
    Column("options", "key", "str", "", "every other parameter of the pair"),
    Column("precision", "key", "str", "", "storage and product rule"),
    Column("device", "key", "str", "", "cpu or cuda"),
    Column("seed", "key", "int", "", "of the problem"),
    Column("phase", "key", "str", "", "forward, backward, or step (both)"),
    Column("clock", "key", "str", "", "wall (what a caller waits), gpu (device) or graph (replay)"),
    Column("cache", "key", "str", "", "cold: emptied before each sample; hot: left as it is"),
    Column("status", "outcome", "str", "", "how it ended"),
    Column("reason", "outcome", "str", "", "why, or what to do"),
    Column("seconds_min", "time", "float", "s", "fastest sample, per call"),
    Column("seconds_q1", "time", "float", "s", "lower quartile"),
    Column("seconds_median", "time", "float", "s", "median"),
    Column("seconds_q3", "time", "float", "s", "upper quartile"),
    Column("seconds_low", "time", "float", "s", "95 % interval of the median, lower end"),
    Column("seconds_high", "time", "float", "s", "95 % interval of the median, upper end"),
    Column("samples", "time", "int", "", "number of samples"),
    Column("calls", "time", "int", "", "calls inside one sample"),
    Column("stop", "time", "str", "", "why sampling ended: precision, max_seconds, max_samples"),
    Column("passes", "time", "int", "", "passes over the suite whose samples are pooled here"),
    Column("spread", "time", "float", "1", "how far apart the medians of the passes lie"),
    Column("noise", "time", "str", "", "quiet, noisy or unstable: what difference would show"),
    Column("host_sync", "time", "bool", "", "the call itself waits for the device"),
    Column("flags", "time", "str", "", "what may have disturbed it: loaded, throttled, ..."),
    Column("first_call_seconds", "time", "float", "s", "the very first call"),
    Column("gemms", "work", "float", "1", "median in batched products of the same shape"),
    Column("products", "work", "float", "1", "batched products of n x n matrices in one call"),
    Column("operators", "work", "int", "", "array operations of one call"),
    Column("launches", "work", "int", "", "kernels of one call, if it can be captured as a graph"),
    Column("computed_in", "work", "str", "", "precision it really computed in, if not the row's"),
    Column("flops", "work", "float", "1", "floating-point operations of its products"),
    Column("limit_seconds", "work", "float", "s", "what this machine's ceilings allow that work"),
    Column("limit_fraction", "work", "float", "1", "limit_seconds / seconds_median"),
    Column("problem_fraction", "work", "float", "1", "lowest limit at that error / seconds_median"),
    Column("bound", "work", "str", "", "what limits: compute, memory or launches"),
    Column("peak_bytes", "memory", "float", "B", "largest extra memory during one call"),
    Column("saved_bytes", "memory", "float", "B", "kept from forward to backward, root included"),
    Column("root_error", "error", "float", "1", "||Y - Y*|| / ||Y*||, Frobenius, worst checked"),
    Column("root_mae", "error", "float", "1", "mean |Y - Y*| of an entry, mean over the checked"),
    Column("residual", "error", "float", "1", "||Y Y - A|| / ||A|| or ||Z A Z - I|| / ||I||"),
    Column("gradient_error", "error", "float", "1", "||S - S*|| / ||S*||, worst checked"),
    Column("amplification", "error", "float", "1", "||S|| / ||G||, gradient by cotangent, largest"),
    Column("tail_weight", "error", "float", "1", "small half of the spectrum in Y, by that in Y*"),
    Column("asymmetry", "error", "float", "1", "||Y - Yt|| / ||Y||, worst checked"),
    Column("nonfinite", "error", "int", "", "matrices of the batch with a nan or inf"),
    Column("reference_error", "error", "float", "1", "how far the reference itself may be off"),
    Column("condition", "error", "float", "1", "of the matrix A, worst checked"),
    Column("checked", "error", "int", "", "matrices compared with the reference"),
    Column("fingerprint", "identity", "float", "1", "of the input; the same on every machine"),
    Column("cell_id", "identity", "str", "", "names the cell, the same everywhere"),
    Column("code_hash", "identity", "str", "", "of the code that was measured"),
    Column("environment", "identity", "str", "", "key into environment.json"),
    Column("run_id", "identity", "str", "", "the run that measured it"),
    Column("schema", "identity", "int", "", "version of these columns"),
)
COLUMNS: tuple[str, ...] = tuple(c.name for c in SCHEMA)
KEY: tuple[str, ...] = tuple(c.name for c in SCHEMA if c.group == "key")
BY_NAME: dict[str, Column] = {c.name: c for c in SCHEMA}


def error_column(phase: str) -> str:
    """The error of what a phase computes: of the root in a forward, else of the gradient."""
    return "root_error" if phase == "forward" else "gradient_error"
