"""Colours of statuses, and counts of statuses as coloured text."""

from collections.abc import Mapping

from rich.text import Text

STYLE = {
    "ok": "green",
    "nonfinite": "red",
    "diverged": "red",
    "inaccurate": "yellow",
    "oom": "red",
    "timeout": "red",
    "crashed": "bold red",
    "unsupported": "dim",
    "not_installed": "dim",
    "unavailable": "dim",
    "interrupted": "magenta",
    "partial": "magenta",
    "unverified": "yellow",
}


def status_words(counts: Mapping[str, int]) -> Text:
    """Return counts of statuses, coloured: `78 ok, 3 inaccurate, 24 not_installed`."""
    parts = [(f"{n} {s}", STYLE.get(str(s), "")) for s, n in counts.items() if n]
    text = Text()
    for i, part in enumerate(parts):
        text.append(", " if i else "")
        text.append(*part)
    return text
