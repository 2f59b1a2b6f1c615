"""What a figure really draws: marks with their places, read from the scene that Vega computes."""

from typing import Any, NamedTuple

import vl_convert

from mssbench.report.figures.figure import HEIGHT, WIDTH


class Panel(NamedTuple):
    """One panel: the lines of its title, its axis labels by place, and its marks."""

    title: list[str]
    marks: list[dict[str, Any]]
    labels: list[tuple[float, float, str]]

    def items(self, kind: str, **wanted: Any) -> list[dict[str, Any]]:
        """The items of all marks of a kind, such as symbol or line, with some properties."""
        return [
            item
            for mark in self.marks
            if mark["marktype"] == kind
            for item in mark["items"]
            if all(item.get(name) == x for name, x in wanted.items())
        ]

    def lines(self, **wanted: Any) -> list[list[dict[str, Any]]]:
        """The points of each line with some properties."""
        return [
            mark["items"]
            for mark in self.marks
            if mark["marktype"] == "line"
            and mark["items"]
            and all(mark["items"][0].get(name) == x for name, x in wanted.items())
        ]

    def texts(self) -> dict[tuple[int, int], str]:
        """The texts of marks by their place, in pixels."""
        return {
            (round(item["x"]), round(item["y"])): _text(item["text"]) for item in self.items("text")
        }


class Scene(NamedTuple):
    """A figure as drawn: its panels, the entries of its legends, and the lines of its titles."""

    panels: list[Panel]
    legend: list[str]
    titles: list[str]
    width: float


def scene(spec: dict[str, Any]) -> Scene:
    """Compute what Vega draws for a specification."""
    drawn = vl_convert.vegalite_to_scenegraph(spec)
    root = drawn["scenegraph"]
    group = root["items"][0]
    panels = [
        _panel(mark)
        for mark in group["items"]
        if str(mark.get("name")).startswith("concat_") and mark["marktype"] == "group"
    ]
    legends = [mark for mark in group["items"] if mark.get("role") == "legend"]
    titles = [mark for mark in group["items"] if mark.get("role") == "title"]
    return Scene(
        panels,
        [_text(item["text"]) for item in _all(legends, "legend-label")],
        [
            line
            for role in ("title-text", "title-subtitle")
            for item in _all(titles, role)
            for line in _text(item["text"]).split("\n")
        ],
        drawn["width"],
    )


def _panel(mark: dict[str, Any]) -> Panel:
    (group,) = mark["items"]
    title = [m for m in group["items"] if m.get("role") == "title"]
    lines = [_text(item["text"]) for item in _all(title, "title-text")]
    axes = [m for m in group["items"] if m.get("role") == "axis"]
    labels = [(x["x"], x["y"], _text(x["text"])) for x in _all(axes, "axis-label")]
    marks = [m for m in _flat(group["items"]) if m.get("role") == "mark"]
    return Panel("\n".join(lines).split("\n"), marks, labels)


def _flat(marks):
    """The marks, and those within groups: lines of several methods are in a group each."""
    for mark in marks:
        if mark["marktype"] == "group" and mark.get("role") not in ("axis", "legend", "title"):
            for item in mark["items"]:
                yield from _flat(item.get("items", []))
        else:
            yield mark


def _all(marks, role):
    """The items of the marks with a role, within any groups."""
    for mark in marks:
        if mark.get("role") == role:
            yield from mark["items"]
        elif mark["marktype"] == "group":
            for item in mark["items"]:
                yield from _all(item.get("items", []), role)


def _text(text: Any) -> str:
    return "\n".join(text) if isinstance(text, list) else str(text)


def value(spec: dict[str, Any], letter: str, place: float) -> float:
    """The value that a place on a logarithmic axis, in pixels, stands for."""
    known = {p["name"]: p["value"] for p in spec["params"]}
    low, high = known[f"{letter}_low"], known[f"{letter}_high"]
    share = place / WIDTH if letter == "x" else 1 - place / HEIGHT
    return float(low * (high / low) ** share)
