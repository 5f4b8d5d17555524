"""Which module may import which: front ends, core, engine and documents, values."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import cagchat

ROOT = Path(cagchat.__file__).parent
FRONT_ENDS = ("cagchat.cli", "cagchat.tui", "cagchat.bench", "cagchat.demo")
CORE = (
    "cagchat.library",
    "cagchat.reading",
    "cagchat.opened",
    "cagchat.conversation",
    "cagchat.events",
    "cagchat.exporting",
    "cagchat.proof",
    "cagchat.prompt",
    "cagchat.quotes",
    "cagchat.passages",
    "cagchat.limits",
    "cagchat.wording",
    "cagchat.choosing",
    "cagchat.guiding",
    "cagchat.identities",
    "cagchat.questions",
    "cagchat.recorded",
    "cagchat.remembered",
    "cagchat.saved",
    "cagchat.thinking",
    "cagchat.sessions",
    "cagchat.states",
)
VALUES = (
    "cagchat",
    "cagchat.errors",
    "cagchat.files",
    "cagchat.locations",
    "cagchat.printable",
    "cagchat.units",
    "cagchat.engine.protocol",
    "cagchat.documents.document",
)
SLOW = (
    "asyncio",
    "filelock",
    "jinja2",
    "llama_cpp",
    "numpy",
    "platformdirs",
    "pynvml",
    "rich",
    "sqlite3",
    "textual",
    "xxhash",
)


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(ROOT.rglob("*.py"))}


def inside(name: str, packages: tuple[str, ...] | str) -> bool:
    """Tell whether a module is one of these or inside one of them."""
    packages = (packages,) if isinstance(packages, str) else packages
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def imports(name: str) -> set[str]:
    """Return every module that a module imports, at its top or inside a function."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} imports relatively"
            assert node.module is not None
            submodules = {f"{node.module}.{alias.name}" for alias in node.names} & MODULES.keys()
            found |= submodules or {node.module}
    return found


def crossing(importers: Iterator[str] | list[str], imported: tuple[str, ...] | str) -> list[str]:
    """Return the imports that cross a line, as a failure should show them."""
    return [f"{name} imports {other}" for name in importers for other in imports(name) if inside(other, imported)]


def modules_in(*packages: str) -> list[str]:
    return [name for name in MODULES if inside(name, packages)]


def modules_outside(*packages: str) -> list[str]:
    return [name for name in MODULES if not inside(name, packages)]


def test_llama_cpp_is_imported_in_one_file() -> None:
    """Only one file of the engine knows llama-cpp-python; the others are handed its bindings."""
    assert crossing(modules_outside("cagchat.engine.bindings"), "llama_cpp") == []
    assert crossing(["cagchat.engine.bindings"], "llama_cpp") != []


def test_pynvml_is_imported_in_one_file() -> None:
    """Only the reader of NVIDIA's GPUs knows the driver's library."""
    assert crossing(modules_outside("cagchat.hardware.nvml"), "pynvml") == []


def test_hardware_knows_no_book() -> None:
    """Looking at the machine needs no model, no book and no front end."""
    others = (*CORE, *FRONT_ENDS, "cagchat.documents", "cagchat.models", "cagchat.plan", "cagchat.settings")
    assert crossing(modules_in("cagchat.hardware"), others) == []


def test_plans_know_no_core() -> None:
    """Planning needs models, settings and the machine, and neither library nor chats nor front ends."""
    assert crossing(modules_in("cagchat.plan"), (*CORE, *FRONT_ENDS, "cagchat.documents")) == []


def test_textual_is_imported_in_one_package() -> None:
    """Only the full-screen front end knows textual."""
    assert crossing(modules_outside("cagchat.tui"), "textual") == []


def test_nothing_imports_the_command_line() -> None:
    """Nothing but the command line itself, and `python -m cagchat`, imports it."""
    assert crossing(modules_outside("cagchat.cli", "cagchat.__main__"), "cagchat.cli") == []


def test_core_imports_no_front_end() -> None:
    """Library, conversation, sessions and states know no front end."""
    assert crossing(modules_in(*CORE), FRONT_ENDS) == []


def test_the_engine_knows_tokens_only() -> None:
    """The protocol, both engines and their process know nothing of books, chats, states or front ends."""
    parts = [name for name in modules_in("cagchat.engine") if name != "cagchat.engine.backend"]
    assert crossing(parts, (*CORE, *FRONT_ENDS, "cagchat.documents", "cagchat.settings", "cagchat.models")) == []


def test_the_backend_knows_no_core() -> None:
    """What chooses an engine may know models and settings, and neither library nor chats nor front ends."""
    assert crossing(["cagchat.engine.backend"], (*CORE, *FRONT_ENDS, "cagchat.documents")) == []


def test_documents_know_no_engine() -> None:
    """Loading a book needs no model, no state and no chat."""
    others = (*CORE, *FRONT_ENDS, "cagchat.engine", "cagchat.models", "cagchat.settings")
    assert crossing(modules_in("cagchat.documents"), others) == []


def test_chats_know_no_engine() -> None:
    """The database of chats needs no engine, no state and no document."""
    others = ("cagchat.engine", "cagchat.states", "cagchat.documents", "cagchat.library", "cagchat.conversation")
    assert crossing(modules_in("cagchat.sessions"), others) == []


@pytest.mark.parametrize("name", VALUES)
def test_values_import_values_only(name: str) -> None:
    """What crosses layers belongs to none of them."""
    assert {other for other in imports(name) if inside(other, "cagchat")} <= set(VALUES)


@pytest.mark.parametrize("name", MODULES)
def test_annotations_are_not_evaluated(name: str) -> None:
    """Every module with a function or class postpones its annotations, so that they cost nothing at start."""
    tree = ast.parse(MODULES[name].read_text(encoding="utf-8"))
    has_code = any(isinstance(node, ast.FunctionDef | ast.ClassDef) for node in tree.body)
    assert not has_code or "__future__" in imports(name)


def test_no_import_is_circular() -> None:
    """Modules that import each other at their tops form no ring."""
    edges = {name: top_level_imports(name) for name in MODULES}
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join((*path, name))
        if name not in done:
            for other in edges[name]:
                visit(other, (*path, name))
            done.add(name)

    for name in MODULES:
        visit(name, ())


def top_level_imports(name: str) -> set[str]:
    """Return what a module of ours imports of ours while it is being imported itself."""
    found = set()
    for node in ast.parse(MODULES[name].read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= names & MODULES.keys() or {node.module} & MODULES.keys()
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names} & MODULES.keys()
    return found


@pytest.mark.parametrize("arguments", [["--help"], ["--version"]])
def test_help_imports_nothing_slow(arguments: list[str]) -> None:
    """`cagchat --help` answers without loading templates, numbers, terminals, databases or engines."""
    command = [sys.executable, "-X", "importtime", "-m", "cagchat", *arguments]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    loaded = {line.rpartition("|")[2].strip() for line in run.stderr.splitlines() if line.startswith("import time:")}
    assert "cagchat.cli.main" in loaded
    assert {name for name in loaded if inside(name, SLOW)} == set()
