"""`cagchat config`: what the settings are, where each came from, and changing one."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from cagchat.cli.options import add_json, complete_with, refuse_idle_json
from cagchat.cli.output import is_terminal, put
from cagchat.cli.tables import print_json, print_lines, print_table
from cagchat.settings import PREFIX, rules

if TYPE_CHECKING:
    from cagchat.cli.app import App

HEADERS = ("Setting", "Value", "From")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_json(parser)
    actions = parser.add_subparsers(dest="action", metavar="ACTION", title="actions (show when none is given)")

    def action(name: str, summary: str) -> argparse.ArgumentParser:
        return actions.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")

    add_json(action("show", "show every setting, and where its value comes from"), action=True)
    action("path", "print where the configuration file is, or would be")
    change = action("set", "write one setting into the configuration file; comments in it stay")
    add_key(change)
    change.add_argument("value", metavar="VALUE", help="the new value")
    add_key(action("unset", "take one setting out of the configuration file"))


def add_key(parser: argparse.ArgumentParser) -> None:
    """Add the name of a setting."""
    key = parser.add_argument("key", metavar="KEY", help="a setting's name, as `cagchat config` shows it")
    complete_with(key, keys)


def keys(prefix: str, **others: object) -> list[str]:
    """Return the settings that begin with `prefix`."""
    return [name for name in rules() if name.startswith(prefix)]


def run(app: App, args: argparse.Namespace) -> int:
    """Run one action."""
    refuse_idle_json(args)
    match args.action:
        case "path":
            put(str(app.locations.config_file))
            return 0
        case "set":
            return set_value(app, args)
        case "unset":
            return unset(app, args)
        case _:
            return show(app, args)


def show(app: App, args: argparse.Namespace) -> int:
    """Show every setting with its origin."""
    from cagchat.settings import shown

    known = rules()
    values = {name: getattr(app.settings, name) for name in known}
    origins = app.resolved.origins
    if args.json:
        settings = {
            name: {"value": values[name], "origin": origins[name], "default": rule.default, "about": rule.doc}
            for name, rule in known.items()
        }
        print_json({"file": str(app.locations.config_file), "settings": settings})
        return 0
    rows = [(name, shown(value), origins[name]) for name, value in values.items()]
    if is_terminal(sys.stdout):
        print_table(HEADERS, rows)
    else:
        print_lines(rows)
    return 0


def set_value(app: App, args: argparse.Namespace) -> int:
    """Write one setting, and say so when something else overrides it."""
    from cagchat.cli.app import say
    from cagchat.settings import shown, write_value

    file = app.locations.config_file
    value = write_value(file, args.key, args.value)
    put(f"{args.key} = {shown(value)}")
    warn_of_override(app, args.key)
    say(f"Written to {file}.")
    return 0


def unset(app: App, args: argparse.Namespace) -> int:
    """Take one setting out of the file."""
    from cagchat.cli.app import say
    from cagchat.settings import shown, unset_value

    file = app.locations.config_file
    was_there = unset_value(file, args.key)
    rule = rules().get(args.key)
    if rule is not None:
        print(f"{args.key} = {shown(rule.default)}")
        warn_of_override(app, args.key)
    say(f"Taken out of {file}." if was_there else f"{file} did not set it.")
    return 0


def warn_of_override(app: App, key: str) -> None:
    """Say that the environment, not the file, decides about a setting."""
    from cagchat.cli.app import say

    origin = app.resolved.origins[key]
    if origin.startswith(PREFIX):
        say(f"The variable {origin} is set and overrides it.")
