"""`cagchat bench synth`: write a model of a real one's shape with random weights."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from cagchat.cli.completion import paths
from cagchat.cli.options import complete_with
from cagchat.documents.gathering import expanded

if TYPE_CHECKING:
    from cagchat.cli.app import App
    from cagchat.models.shape import ModelShape

SUMMARY = "write a model of a real one's shape with random weights, to measure with"
STEPS = 10  # how often the progress is said


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("entry", metavar="ENTRY", help="a key of the catalogue, or a GGUF whose shape is taken")
    complete_with(parser.add_argument("out", metavar="OUT", help="the file to write"), paths)
    parser.add_argument("--quant", metavar="Q", default="", help="the quantisation; default: the catalogue's first")
    parser.add_argument("--layers", type=int, metavar="N", help="only the first N layers")
    parser.add_argument("--experts", type=int, metavar="N", help="only N experts a layer")
    parser.add_argument("--width", type=int, metavar="N", help="an embedding of N instead, all else in proportion")
    parser.add_argument("--vocabulary", metavar="FILE", help="a GGUF whose tokenizer is taken; default: bytes")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="another seed gives other weights; default: 0")


def run(app: App, args: argparse.Namespace) -> int:
    """Write the file and print its path."""
    from cagchat.bench.synth_full import write_full
    from cagchat.cli.app import say
    from cagchat.units import size

    shape, quantisation, tied = wanted(app, args.entry, args.quant)
    told = 0

    def progress(done_bytes: int, total_bytes: int) -> None:
        nonlocal told
        if (step := STEPS * done_bytes // total_bytes) > told:
            told = step
            say(f"{size(done_bytes)} of {size(total_bytes)}")

    path = write_full(
        expanded(args.out),
        shape,
        quantisation,
        seed=args.seed,
        layers=args.layers,
        experts=args.experts,
        width=args.width,
        vocabulary=expanded(args.vocabulary) if args.vocabulary else None,
        tied=tied,
        progress=progress,
    )
    print(path)
    return 0


def wanted(app: App, entry: str, quantisation: str) -> tuple[ModelShape, str, bool]:
    """Return the shape, the quantisation, and whether embeddings are tied. Raises `ModelError` and `UsageError`."""
    from cagchat.errors import UsageError
    from cagchat.models.catalogue import load_catalogue
    from cagchat.models.gguf import read_header
    from cagchat.models.shape import shape_of

    if (path := expanded(entry)).suffix == ".gguf":
        if not quantisation:
            raise UsageError(f"{path} does not say in which quantisation to write.", "Say it: --quant Q4_K_M.")
        header = read_header(path)
        tied = all(tensor.name != "output.weight" for tensor in header.tensors)
        return shape_of(header), quantisation, tied
    found = load_catalogue(app.locations.catalogue_file).entry(entry)
    return found.shape, quantisation or found.file().quantisation, found.tied_embeddings
