"""Writes the parts of docs/ that come from the code and from committed runs.

    python .ci/pages            write them
    python .ci/pages --check    write nothing; name the pages that differ, and exit with 1

Such a part stands between the comments `<!-- generated: NAME -->` and `<!-- end of NAME -->`. Its
text is the result of the function of that name in PARTS.
"""

import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import of_code
import of_runs
import of_trainings

ROOT = Path(__file__).resolve().parent.parent.parent
PARTS: Mapping[str, Callable[[], str]] = of_code.PARTS | of_runs.PARTS | of_trainings.PARTS
_PART = re.compile(
    r"(?P<opening><!-- generated: (?P<name>[\w-]+) -->\n).*?(?P<closing><!-- end of (?P=name) -->)",
    re.S,
)


def names(text: str) -> list[str]:
    """Return the names of the generated parts of a page."""
    return [match["name"] for match in _PART.finditer(text)]


def renewed(text: str) -> str:
    """Return the text of a page with its generated parts as the code and the runs are now."""

    def part(match: re.Match[str]) -> str:
        return f"{match['opening']}\n{PARTS[match['name']]()}\n\n{match['closing']}"

    return _PART.sub(part, text)


def main(*, check: bool) -> int:
    """Write the pages or check them, and return the exit code."""
    differing = []
    for page in sorted((ROOT / "docs").glob("*.md")):
        text = page.read_text("utf-8")
        new = renewed(text)
        if new != text:
            differing.append(page)
            if not check:
                page.write_text(new, "utf-8")

    for page in differing:
        print(f"{page.relative_to(ROOT)} {'differs: run python .ci/pages' if check else 'written'}")
    return 1 if check and differing else 0


if __name__ == "__main__":
    sys.exit(main(check="--check" in sys.argv[1:]))
