"""Draw the README's pictures: the real `cagchat demo`, and the real terminal app with answers from a script.

    python screenshots/make.py [--fake] [--out FOLDER] [NAME ...]

Writes one SVG a picture. That of the demo is of a real run, with this machine's times; those of the app use the engine
without a model on a clock of its own, so that they are the same wherever they are drawn.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

DEMO = "demo"


def main() -> None:
    """Draw what is named, everything when nothing is."""
    forget_surroundings()
    from demo import draw, run_demo
    from screens import SCREENS  # Textual looks at the environment while it is imported

    known = [DEMO, *SCREENS]
    parser = argparse.ArgumentParser(description="Draw the README's pictures.")
    parser.add_argument("--fake", action="store_true", help="use the engine without a model for the demo too")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="where to write the pictures")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"only these pictures: {', '.join(known)}")
    args = parser.parse_args()
    if unknown := set(args.names) - set(known):
        parser.error(f"no picture is called {', '.join(sorted(unknown))}")
    args.out.mkdir(parents=True, exist_ok=True)
    for name in args.names or known:
        if name == DEMO:
            svg = draw("$ cagchat demo\n" + run_demo(["--fake"] if args.fake else []))
        else:
            svg = SCREENS[name].draw()
        (args.out / f"{name}.svg").write_text(svg, encoding="utf-8")


def forget_surroundings() -> None:
    """Set aside what could change a picture from outside: colours, Textual's own settings, the time zone."""
    for name in list(os.environ):
        if name == "NO_COLOR" or name.startswith("TEXTUAL"):
            del os.environ[name]
    os.environ["TZ"] = "UTC"
    time.tzset()


if __name__ == "__main__":
    main()
