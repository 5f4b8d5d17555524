"""Runs the parts of the torture: `python -m tests.torture [PART ...] [--seed N] [--share X]`; prints what it did."""

from __future__ import annotations

import argparse
import importlib
import sys
import tempfile
import time
from pathlib import Path

from tests.torture.trial import Part, Terms

MODULES = ("kills", "damage", "storage", "sharing", "engine", "hostile", "privacy", "soak")


def parts() -> dict[str, Part]:
    """Return every part by its name, in the order in which they run."""
    found = (importlib.import_module(f"tests.torture.{module}").PART for module in MODULES)
    return {part.name: part for part in found}


def main(arguments: list[str] | None = None) -> int:
    """Run the parts that are asked for, all of them when none is; return 1 when a promise broke."""
    known = parts()
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(known)}; all when none is named")
    parser.add_argument("--seed", type=int, default=0, help="another one finds other moments (default 0)")
    parser.add_argument("--share", type=float, default=1.0, help="how much of the full size to do (default 1.0)")
    chosen = parser.parse_args(arguments)
    for name in chosen.parts:
        if name not in known:
            parser.error(f"there is no part {name!r}; there are {', '.join(known)}")
    broken = 0
    for part in [known[name] for name in chosen.parts or known]:
        print(f"{part.name}: {part.what}", flush=True)
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="cagchat-torture-") as folder:
            report = part.run(Terms(Path(folder), chosen.seed, chosen.share, lambda line: print(line, flush=True)))
        print("\n".join(report.lines()))
        print(f"  {part.name} took {time.monotonic() - began:.0f} s, {len(report.broken)} promises broken", flush=True)
        broken += len(report.broken)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
