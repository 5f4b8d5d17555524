"""The SVG of curves: the same bytes every time, nothing from elsewhere, every number within reach."""

from __future__ import annotations

import math
from xml.etree import ElementTree

import pytest

from cagchat.bench.line_plot import Axis, Panel, axis_for, doublings, line_plot, short, ticks
from cagchat.units import duration

SVG = "{http://www.w3.org/2000/svg}"
PANEL = Panel("read <in>", duration, {"Attention": [(512, 1.0), (1024, 2.5)], "Hybrid": [(512, 0.5), (2048, 1.0)]})


def drawn() -> str:
    return line_plot("Growth & co", [PANEL], "two cores")


def test_same_panels_same_bytes() -> None:
    """Drawing twice gives the same bytes."""
    assert drawn() == drawn()


def test_picture_stands_alone() -> None:
    """The SVG is well-formed and has neither scripts nor links nor anything from another place."""
    root = ElementTree.fromstring(drawn())
    assert not {element.tag.removeprefix(SVG) for element in root.iter()} & {"script", "image", "use", "a"}
    assert "http" not in drawn().replace("http://www.w3.org/2000/svg", "")


def test_title_and_words_for_who_cannot_see() -> None:
    """Title and description are text, with the ends of every curve in words."""
    root = ElementTree.fromstring(drawn())
    assert root.findtext(f"{SVG}title") == "Growth & co"
    described = root.findtext(f"{SVG}desc") or ""
    assert "Attention from 1.00 s at 512 to 2.50 s at 1K tokens" in described
    assert "Hybrid from 0.50 s at 512 to 1.00 s at 2K tokens" in described


def test_every_point_has_a_tooltip() -> None:
    """Each point of each curve says its model, length and value."""
    tips = [group.findtext(f"{SVG}title") for group in ElementTree.fromstring(drawn()).iter(f"{SVG}g")]
    assert tips == [
        "Attention, 512 tokens: 1.00 s",
        "Attention, 1,024 tokens: 2.50 s",
        "Hybrid, 512 tokens: 0.50 s",
        "Hybrid, 2,048 tokens: 1.00 s",
    ]


def test_curves_differ_without_colour() -> None:
    """Each curve has a dash and a mark of its own."""
    root = ElementTree.fromstring(drawn())
    lines = [path for path in root.iter(f"{SVG}path") if path.get("class") == "line"]
    assert len({path.get("stroke-dasharray") for path in lines}) == 2


def test_equal_steps_for_equal_factors() -> None:
    """Twice the value is the same step anywhere on an axis."""
    axis = Axis(1, 1024, 100)
    assert axis.place(8) - axis.place(4) == pytest.approx(axis.place(512) - axis.place(256))
    assert axis.place(1) == 0
    assert axis.place(1024) == pytest.approx(100)


def test_noise_does_not_look_like_growth() -> None:
    """An axis of nearly equal values spans a power of ten all the same."""
    axis = axis_for([0.101, 0.103])
    assert math.log10(axis.high / axis.low) > 1


@pytest.mark.parametrize("values", [[0.003, 12.0], [1.0], []])
def test_axis_has_ticks(values: list[float]) -> None:
    """Whatever the values, an axis has ticks, all within it."""
    axis = axis_for(values)
    assert len(ticks(axis)) > 1
    assert all(axis.low <= value <= axis.high for value in ticks(axis))


def test_lengths_are_doublings() -> None:
    """The axis of lengths is labelled with powers of two."""
    assert [short(value) for value in doublings(Axis(512, 4096, 100))] == ["512", "1K", "2K", "4K"]


def test_nothing_to_draw_is_drawn() -> None:
    """Panels without points, or with values that a logarithm has none for, give a picture all the same."""
    picture = line_plot("Empty", [Panel("none", duration, {}), Panel("zero", duration, {"A": [(512, 0.0)]})])
    assert ElementTree.fromstring(picture).findtext(f"{SVG}title") == "Empty"
