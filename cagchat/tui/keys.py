"""The reader's own keys: the `[keys]` of keys.toml, checked against the actions there are."""

from __future__ import annotations

import tomllib
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path

from textual.binding import Binding
from textual.dom import DOMNode
from textual.keys import KEY_NAME_REPLACEMENTS, Keys

from cagchat.errors import ConfigError

MODIFIERS = {"ctrl", "alt", "shift", "super", "hyper", "meta"}
NAMED = {key.value for key in Keys} | {name.lower() for name in KEY_NAME_REPLACEMENTS.values()}


def read_keys(path: Path, ids: Iterable[str]) -> dict[str, str]:
    """Return the keys by the id of their action; a file that is not there has none. Raises `ConfigError`."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path} cannot be used: {error}.", "Mend it, or move it away.") from error
    keys = document.get("keys", {})
    if not isinstance(keys, dict) or set(document) - {"keys"}:
        raise ConfigError(f"{path} holds something other than [keys].", '[keys]\n"chat.again" = "ctrl+r"')
    known = sorted(ids)
    return {name: checked(name, value, known, path) for name, value in keys.items()}


def checked(name: str, value: object, known: list[str], path: Path) -> str:
    """Return one entry's keys, several with commas between them."""
    if name not in known:
        near = get_close_matches(name, known, 1)
        hint = f"Did you mean {near[0]}?" if near else f"There are: {', '.join(known)}."
        raise ConfigError(f"{path}: there is no action {name}.", hint)
    parts = [part.strip() for part in value.split(",")] if isinstance(value, str) else []
    if not parts or not all(map(is_key, parts)):
        raise ConfigError(f"{path}: {name} = {value!r} is no key.", 'Write "ctrl+r" or "f5", several with commas.')
    return ",".join(parts)


def is_key(text: str) -> bool:
    """Tell whether a text names a key, with or without modifiers: f5, ctrl+r, question_mark, ?."""
    *modifiers, key = text.split("+") if text != "+" else ["+"]
    if not MODIFIERS.issuperset(modifiers) or not key or any(letter.isspace() for letter in key):
        return False
    if len(key) == 1 or key in NAMED:
        return True
    try:
        unicodedata.lookup(key.replace("_", " ").upper())
    except KeyError:
        return False
    return True


def keyed(node: DOMNode, keymap: Mapping[str, str]) -> Mapping[str, Sequence[Binding]]:
    """Return a widget's bindings by their keys, with the reader's own in place of the built-in ones."""
    # Textual tells a widget's bindings only while it has the focus.
    bindings = node._bindings.copy()
    bindings.apply_keymap(dict(keymap))
    return bindings.key_to_bindings


def binding_ids(*nodes: type[DOMNode]) -> set[str]:
    """Return the ids of the actions whose keys can be changed."""
    found = set()
    for node in nodes:
        for binding in node.BINDINGS:
            if isinstance(binding, Binding) and binding.id:
                found.add(binding.id)
    return found
