"""The values of a training that claims may compare: columns of its table, and derived ones.

`analysis.training_values` computes those that are derived.
"""

from mssbench.records.schema import Column
from mssbench.records.training import PROBES, TRAININGS

# The change that a row of the table of robustness has if eigenvalues were set to zero.
TRUNCATION = "truncation"
SHARES = (10, 25, 50, 75, 90)  # percent of the live eigenvalues that are zeroed


def _derived(name: str, meaning: str) -> Column:
    return Column(name, "outcome", "float", "1", meaning)


MCE = "mce"
# By share in percent: the accuracy with so many eigenvalues zeroed, and what is lost by it.
TRUNCATED = {share: f"truncated_{share}" for share in SHARES}
LOST = {share: f"lost_{share}" for share in SHARES}
DERIVED: tuple[Column, ...] = (
    _derived("skipped_share", "share of the steps that were skipped"),
    _derived("nonfinite_share", "share of the steps with a value not finite, or that raised"),
    _derived("first_accuracy", "accuracy after the first epoch"),
    _derived("early_accuracy", "mean accuracy over the first half of the epochs"),
    _derived(MCE, "error on changed images, in percent of that of mean pooling"),
    *(_derived(name, f"accuracy, {share} % truncated") for share, name in TRUNCATED.items()),
    *(_derived(name, f"accuracy lost, {share} % truncated") for share, name in LOST.items()),
)
# What a claim may compare: every number but those that say which training it is.
VALUES: tuple[str, ...] = tuple(
    column.name
    for column in (*TRAININGS, *DERIVED)
    if column.kind in ("int", "float") and column.group != "key"
)
OF_ROBUSTNESS = frozenset({MCE, *TRUNCATED.values(), *LOST.values()})
OF_PROBES = frozenset({"truth_error", *(column.name for column in PROBES)})
