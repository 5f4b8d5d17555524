"""The errors: their tree, their codes and what they say."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import pytest

from cagchat import errors
from cagchat.errors import CagchatError, Stopped, UsageError


def everywhere() -> dict[str, str]:
    """Return the errors of all modules, with the class that each derives from; nothing is imported for it."""
    folder = Path(errors.__file__).parent
    classes = {
        node.name: node.bases[0].id
        for path in sorted(folder.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef) and node.bases and isinstance(node.bases[0], ast.Name)
    }
    found = {"CagchatError": ""}
    while new := {name: base for name, base in classes.items() if base in found and name not in found}:
        found |= new
    return found


def defined() -> list[type[CagchatError]]:
    return [
        value
        for _, value in inspect.getmembers(errors, inspect.isclass)
        if issubclass(value, CagchatError) and value.__module__ == errors.__name__
    ]


def drawn() -> dict[str, str]:
    """Read the tree in the module's docstring: each name with the name it hangs from."""
    assert errors.__doc__ is not None
    parents: dict[str, str] = {}
    path: list[tuple[int, str]] = []
    for line in errors.__doc__.splitlines():
        if (match := re.match(r"^ {4}([│├└─ ]*)([A-Z]\w+)(?:  |$)", line)) is None:
            continue
        depth = len(match[1])
        path = [(d, name) for d, name in path if d < depth]
        parents[match[2]] = path[-1][1] if path else ""
        path.append((depth, match[2]))
    return parents


def test_the_drawn_tree_is_the_real_one() -> None:
    """The docstring names every error of cagchat under the class it derives from, and no other."""
    assert drawn() == everywhere()


def test_exit_codes() -> None:
    """Wrong usage is 2, stopped is 130, and everything else is 1."""
    codes = {kind.__name__: kind.exit_code for kind in defined() if kind.exit_code != 1}
    assert (
        codes == {"UsageError": UsageError.exit_code, "Stopped": Stopped.exit_code} == {"UsageError": 2, "Stopped": 130}
    )


@pytest.mark.parametrize("kind", defined())
def test_an_error_is_documented(kind: type[CagchatError]) -> None:
    """Every error says in its docstring what it means."""
    assert kind.__doc__


def test_a_message_is_what_is_shown() -> None:
    """The text of an error is its message, without the hint."""
    error = CagchatError("What happened.", "What to do.")
    assert str(error) == error.message == "What happened."
    assert error.hint == "What to do."
