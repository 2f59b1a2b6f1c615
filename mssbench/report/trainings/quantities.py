"""What a panel of a figure of trainings can show, with the titles and units of its axes."""

from typing import NamedTuple

from mssbench.records import units

_EPOCH, _NO_UNIT = "epoch", "no unit"


class Quantity(NamedTuple):
    """One quantity, drawn over epochs, severities or shares.

    name: identifies it. figure: the figure that has it. title: the heading of its panels.
    column: of the tables. x, y: the titles of the axes, with units. log: whether the vertical axis
    is one of powers of ten.
    """

    name: str
    figure: str
    title: str
    column: str
    y: str
    x: str = _EPOCH
    log: bool = False

    @property
    def form(self) -> str:
        """What quantities have in common whose charts differ in their data alone."""
        axis = "log" if self.log else "linear"
        return "intervals" if self.name == "difference" else f"{self.y} over {self.x}, {axis}"

    def text(self, x: float) -> str:
        """Return a value as text. Shares have three decimals, so that they can be compared."""
        return f"{x:.3f}" if self.y.endswith("(share)") else units.number(x)


ACCURACY = Quantity("accuracy", "curves", "Accuracy", "accuracy", "accuracy (share)")
LOSS = Quantity("loss", "curves", "Loss", "loss", "loss (no unit)", log=True)
AMONG_EPOCHS = (ACCURACY, LOSS)

DIFFERENCE = Quantity(
    "difference",
    "differences",
    "Accuracy minus that of the exact root",
    "",
    "method",
    "difference of accuracies (share)",
)


def _probe(name: str, title: str, column: str = "", *, log: bool = True) -> Quantity:
    return Quantity(name, "probes", title, column or name, _NO_UNIT, log=log)


BETA = _probe("beta", "β, with its quartiles", "beta_median")
# The loss stands first, because a narrow band of an undertrained network is no merit.
PROBED = (
    _probe("probe_loss", "Loss at the probe"),
    _probe("band", "Band of the loss"),
    _probe("band_normalized", "Normalized band"),
    _probe("gradient_difference", "Gradient difference"),
    _probe("difference_normalized", "Normalized gradient difference"),
    BETA,
    _probe("truth", "Truth τ of the gradient", log=False),
    _probe("amplification", "Amplification"),
    _probe("gradient_error", "Gradient error"),
)

CHANGED = Quantity(
    "changed", "robustness", "", "", "error (share)", "severity (1 to 5; 0: unchanged)"
)
TRUNCATED = Quantity(
    "truncated",
    "robustness",
    "Eigenvalues set to zero",
    "",
    "accuracy (share)",
    "smallest eigenvalues set to zero (%)",
)
QUANTITIES = {q.name: q for q in (*AMONG_EPOCHS, DIFFERENCE, *PROBED, CHANGED, TRUNCATED)}
