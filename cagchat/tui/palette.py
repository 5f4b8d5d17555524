"""What the command palette offers: every action of ours that can be done on a screen now, whatever has the focus."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from textual.actions import parse
from textual.binding import Binding
from textual.dom import DOMNode
from textual.screen import Screen
from textual.widget import Widget

from cagchat.tui.keys import keyed


@dataclass(frozen=True, slots=True)
class Offer:
    """An action and where it is done."""

    binding: Binding
    node: DOMNode

    def explained(self, key: str) -> str:
        """Return what the action does and the key that does it; the key alone where the title says it all."""
        return f"{self.binding.tooltip} ({key})" if self.binding.tooltip else key


def offers(screen: Screen[Any], keymap: Mapping[str, str]) -> Iterator[Offer]:
    """Return the actions of what has the focus and what is around it, then the others of the screen and its widgets."""
    offered: set[str] = set()
    around = [Offer(active.binding, active.node) for active in screen.active_bindings.values() if active.enabled]
    nodes = (screen, *in_sight(screen))
    elsewhere = [Offer(binding, node) for node in nodes for binding in bindings_of(node, keymap) if can(node, binding)]
    for offer in around + elsewhere:
        binding = offer.binding
        if binding.id and binding.description and binding.description not in offered:
            offered.add(binding.description)
            yield offer


def can(node: Widget, binding: Binding) -> bool:
    """Tell whether an action can be done now."""
    _, name, parameters = parse(binding.action)
    return bool(node.check_action(name, parameters))


def in_sight(screen: Screen[Any]) -> Iterator[Widget]:
    """Return our own widgets that are displayed."""
    for widget in screen.walk_children(Widget):
        ours = type(widget).__module__.startswith("cagchat.")
        if ours and all(node.display for node in widget.ancestors_with_self if isinstance(node, Widget)):
            yield widget


def bindings_of(node: Widget, keymap: Mapping[str, str]) -> list[Binding]:
    """Return a widget's bindings with the reader's own keys, the first key of each action."""
    found: dict[str, Binding] = {}
    for each in keyed(node, keymap).values():
        for binding in each:
            found.setdefault(binding.action, binding)
    return list(found.values())
