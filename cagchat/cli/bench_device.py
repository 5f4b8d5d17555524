"""`cagchat bench device`: memory and speed of a model on this device, at every depth, in a fixed time."""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from cagchat.cli.completion import paths
from cagchat.cli.options import add_engine, complete_with
from cagchat.documents.gathering import expanded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cagchat.bench.device import Predicted
    from cagchat.cli.app import App
    from cagchat.engine.protocol import EngineSettings
    from cagchat.plan.card import Card
    from cagchat.plan.choose import Machine, Option
    from cagchat.settings import Settings

SUMMARY = "measure memory and speed of a model on this device, from an empty cache to a full one"
MINUTES = 10.0


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    complete_with(parser.add_argument("wanted", metavar="MODEL", help="its path, its name or a catalogue key"), paths)
    parser.add_argument(
        "--minutes", type=minutes, default=MINUTES, metavar="M", help=f"stop after so many; default: {MINUTES:.0f}"
    )
    parser.add_argument(
        "--depths", type=depths, metavar="N[,N]", help="positions to measure at; default: 0 to 900K, as far as fits"
    )
    parser.add_argument("--json", metavar="FILE", help="write everything as JSON too, with every run")
    add_engine(parser)


def run(app: App, args: argparse.Namespace) -> int:
    """Measure and print both tables."""
    from cagchat.bench.device import DEPTHS, measure
    from cagchat.bench.tables import as_object
    from cagchat.cli.app import say
    from cagchat.cli.bench import show
    from cagchat.files import write_bytes
    from cagchat.hardware.meter import Meter, open_meter
    from cagchat.hardware.nvml import NvidiaGpus

    settings = replace(app.settings, model=args.wanted)
    card, machine = app.backend.cards(settings)[0], app.backend.machine(settings)
    option, engine_settings = longest(card, args.depths or DEPTHS, settings, machine)
    device = describe(machine, card, engine_settings)
    print(f"{', '.join(str(value) for value in device.values())}\n", flush=True)
    on_gpu = machine.device_bytes > 0 and engine_settings.gpu_layers != 0
    with (
        tempfile.TemporaryDirectory(prefix="cagchat-bench-") as folder,
        open_meter() if on_gpu else Meter(NvidiaGpus(None)) as meter,
    ):
        tables = measure(
            app.backend,
            engine_settings,
            meter,
            folder=Path(folder),
            minutes=args.minutes,
            depths=args.depths or DEPTHS,
            predict=lambda _: predicted(option, on_gpu=on_gpu),
            say=say,
        )
    for table in tables:
        show(table)
    if args.json:
        content = {"device": device, "measurements": [as_object(table) for table in tables]}
        path = expanded(args.json)
        write_bytes(path, f"{json.dumps(content, ensure_ascii=False, indent=2)}\n".encode())
        say(f"Written to {path}.")
    return 0


def longest(card: Card, depths: Sequence[int], settings: Settings, machine: Machine) -> tuple[Option, EngineSettings]:
    """Return what the plan chooses for a book as long as the deepest depth that fits here.

    Raises `EngineError` when not even the shallowest does.
    """
    from cagchat.bench.device import room
    from cagchat.engine.protocol import EngineSettings, RopeSettings
    from cagchat.errors import EngineError
    from cagchat.plan.choose import BATCHES, choose, wish_of

    wish = replace(wish_of(settings), chat_tokens=room(settings.batch or BATCHES[0]))
    for depth in sorted(depths, reverse=True):
        plan = choose([card], partial(counted, depth), wish, machine)
        if (option := plan.chosen) is not None:
            way = option.way
            return option, EngineSettings(
                model=Path(card.path or ""),
                n_context=way.n_context,
                n_batch=way.batch,
                kv_type=way.kv_type,
                flash_attention=way.flash_attention,
                rope=RopeSettings(way.yarn_factor, card.native) if way.yarn_factor > 1 else RopeSettings(),
                threads=settings.threads,
                gpu_layers=way.gpu_layers,
                experts_in_ram=way.experts_in_ram,
            )
    problem = plan.options[-1].problem if plan.options else "no way to run it is known"
    raise EngineError(f"{card.label} does not fit here: {problem}.", "Choose a smaller quantisation or model.")


def counted(depth: int, card: Card) -> int:
    """Return the length of a book that ends at this depth, whatever the model."""
    return depth


def predicted(option: Option, *, on_gpu: bool) -> Predicted:
    """Return what the plan counts, without its margin and without snapshots, which this measurement does not make."""
    memory = option.memory
    left_out = (memory.margin, memory.snapshots)
    host = memory.host_bytes - sum(size.host for size in left_out)
    device = memory.device_bytes - sum(size.device for size in left_out)
    return {**dict.fromkeys(("load", "prefill", "decode", "deepest"), device if on_gpu else host), "host": host}


def describe(machine: Machine, card: Card, settings: EngineSettings) -> dict[str, str | int | float]:
    """Return what the figures depend on."""
    from importlib.metadata import version

    from cagchat.hardware.detect import detect

    hardware = detect()
    gpus = " and ".join(gpu.name for gpu in hardware.gpus) if machine.device_bytes else ""
    return {
        "device": gpus or hardware.processor,
        "llama_cpp_python": f"llama-cpp-python {version('llama-cpp-python')}",
        "model": card.label,
        "kv_type": f"KV {settings.kv_type}",
        "context": f"context {settings.n_context:,}",
        "batch": f"batch {settings.n_batch}",
        "yarn": f"YaRN {settings.rope.yarn_factor:g}x",
    }


def minutes(text: str) -> float:
    """Read `--minutes`."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of minutes")
    return value


def depths(text: str) -> tuple[int, ...]:
    """Read `--depths`; 32K is 32,768."""
    found = []
    for part in text.upper().split(","):
        number = part.strip().removesuffix("K")
        if not number.isdecimal():
            raise argparse.ArgumentTypeError(f"{part!r} is not a number of positions")
        found.append(int(number) << 10 if part.strip().endswith("K") else int(number))
    return tuple(found)
