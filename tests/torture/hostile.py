"""Hostile states and models: what looks right and is not is refused, or ends the engine's process alone.

Whoever writes these states knows their layout and makes all checksums fit again, in the manifest too: only the header's
sense, and the logits after one token, can tell.
"""

from __future__ import annotations

import math
import random
import struct
from array import array
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import gguf
import numpy as np

from cagchat.bench.synth import ARCHITECTURES, Architecture, write_model
from cagchat.engine import blob as blobs
from cagchat.engine.pieces import PIECE_BYTES, digests
from cagchat.engine.process import EngineProcess
from cagchat.engine.protocol import BOOK, CHAT, Blob, EngineSettings, KvType, Memory, Tokens
from cagchat.engine.wire import Start
from cagchat.errors import CagchatError, EngineDied, ModelError, StateError
from cagchat.models.gguf import check_loadable, parse_header
from cagchat.opened import PROBE_TOP, SAME_BUILD, restore, rewind_to_boundary
from cagchat.states.manifest import Manifest, StateFile
from cagchat.states.store import StateFolder
from tests.models.gguf_mutations import at_random, layout, mutate
from tests.reading_cases import chapters
from tests.states.test_manifest import BEGUN
from tests.torture.trial import Part, Report, Terms

N_CONTEXT, N_BATCH, N_BOOK = 1024, 64, 300
EDGES = (0, 1, 2, 255, 2**15, 2**16, 2**24, 2**31 - 1, 2**31, 2**32 - 1)
NAN16, NAN32 = struct.pack("<e", math.nan), struct.pack("<f", math.nan)
SETS: tuple[tuple[Architecture, Memory, KvType, bool], ...] = (  # the last: with flash attention
    ("qwen3", "attention", "f16", False),
    ("qwen35", "hybrid", "f16", False),
    ("gemma3", "sliding", "f16", True),
    ("qwen35", "hybrid", "q8_0", True),
    ("qwen3", "attention", "f16", True),
)


# -- the layout of a state ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Rows:
    """The values of one layer in a state: K, V, R or S of kind `part`."""

    part: int
    kind: int
    start: int
    size: int


@dataclass(frozen=True, slots=True)
class Anatomy:
    """Where things are in a state: its numbers as (offset, bytes), its cells' positions, its rows, its parts' ends."""

    numbers: tuple[tuple[int, int], ...]
    positions: tuple[int, ...]
    rows: tuple[Rows, ...]
    parts: tuple[tuple[int, int], ...]


def anatomy(content: bytes, kinds: tuple[blobs.PartKind, ...], *, extended: bool) -> Anatomy:
    """Find everything in a sound state."""
    numbers, positions, rows, parts = [(0, 4), (4, 4)], [], [], []
    at = 8

    def number(size: int = 4) -> int:
        nonlocal at
        numbers.append((at, size))
        at += size
        return int.from_bytes(content[at - size : at], "little")

    def layer(part: int, cells: int, *, transposed: bool | int = False) -> None:
        nonlocal at
        kind, size = number(), (number() * number() if transposed else number(8)) * cells
        rows.append(Rows(part, kind, at, size))
        at += size

    for part, kind in enumerate(kinds):
        start = at
        if kind == "kv":
            number()  # streams
            cells = number()
            for _ in range(cells):
                positions.append(at)
                for _ in range(6 if extended else 3):
                    number()
            transposed, layers = number(), number()
            for index in range(2 * layers):
                layer(part, cells, transposed=transposed and index >= layers)
        else:
            for _ in range(5):  # cells, position, owners, transposed, layers
                number()
            while at < len(content):
                layer(part, 1)
        parts.append((start, at))
    assert at == len(content), "a sound state is understood to its last byte"
    return Anatomy(tuple(numbers), tuple(positions), tuple(rows), tuple(parts))


Damage = Callable[[bytearray, Anatomy, random.Random], None]


def number_at_random(state: bytearray, found: Anatomy, chance: random.Random) -> None:
    """Put a number at the edge of its range, or one beside the right one."""
    # A third of all numbers are one cell's: those of the frame are drawn as often as those of the cells.
    frame = [n for n in found.numbers if not found.positions or not found.positions[0] <= n[0] < found.positions[-1]]
    start, size = chance.choice(frame if chance.random() < 0.5 else found.numbers)
    before = int.from_bytes(state[start : start + size], "little")
    after = chance.choice((*EDGES, before + 1, before - 1, before * 2)) % 256**size
    state[start : start + size] = after.to_bytes(size, "little")


def positions_moved(state: bytearray, found: Anatomy, chance: random.Random) -> None:
    """Move all positions by the same distance: consistent, and out of the book's range."""
    distance = chance.choice((1, 7, N_CONTEXT, 2**20, 2**30, -1, -N_BOOK))
    for start in found.positions:
        (position,) = struct.unpack_from("<i", state, start)
        struct.pack_into("<i", state, start, max(-(2**31), min(2**31 - 1, position + distance)))


def positions_repeated(state: bytearray, found: Anatomy, chance: random.Random) -> None:
    """Give one cell another's position."""
    if found.positions:
        here, there = chance.choice(found.positions), chance.choice(found.positions)
        state[here : here + 4] = state[there : there + 4]


def positions_shuffled(state: bytearray, found: Anatomy, chance: random.Random) -> None:
    """Deal the positions to other cells: still a run, but each row stands at the wrong place."""
    values = [bytes(state[start : start + 4]) for start in found.positions]
    chance.shuffle(values)
    for start, value in zip(found.positions, values, strict=True):
        state[start : start + 4] = value


def one_value(state: bytearray, found: Anatomy, chance: random.Random, values: tuple[float, ...]) -> None:
    """Put one of these values among those of a layer, or as the scale of a quantised block."""
    rows = chance.choice(found.rows)
    form = "<f" if rows.kind == blobs.GGML_TYPES["f32"] else "<e"
    step = {blobs.GGML_TYPES["q8_0"]: 34, blobs.GGML_TYPES["q4_0"]: 18}.get(rows.kind, struct.calcsize(form))
    struct.pack_into(form, state, rows.start + chance.randrange(rows.size // step) * step, chance.choice(values))


def one_nan(state: bytearray, found: Anatomy, chance: random.Random) -> None:
    """Put one NaN among the values."""
    one_value(state, found, chance, (math.nan,))


def one_infinity(state: bytearray, found: Anatomy, chance: random.Random) -> None:
    """Put one infinity among the values; in K it may only hide a place of the book from some questions."""
    one_value(state, found, chance, (math.inf, -math.inf))


def all_nan(state: bytearray, found: Anatomy, chance: random.Random) -> None:
    """Fill a layer with NaN."""
    rows = chance.choice(found.rows)
    value = NAN32 if rows.kind == blobs.GGML_TYPES["f32"] else NAN16
    state[rows.start : rows.start + rows.size] = value * (rows.size // len(value))


def layers_swapped(state: bytearray, found: Anatomy, chance: random.Random) -> None:
    """Exchange the values of two layers of equal size, of K and V too."""
    one = chance.choice(found.rows)
    other = chance.choice([rows for rows in found.rows if rows.size == one.size])
    first, second = bytes(state[one.start : one.start + one.size]), bytes(state[other.start : other.start + one.size])
    state[one.start : one.start + one.size], state[other.start : other.start + one.size] = second, first


def layers_noise(state: bytearray, found: Anatomy, chance: random.Random) -> None:
    """Fill every layer with values that are numbers and mean nothing."""
    for rows in found.rows:
        noise = chance.randbytes(rows.size)
        quiet = bytes(byte & 0xBF for byte in noise)  # without the highest bit of any exponent: no NaN, nothing large
        state[rows.start : rows.start + rows.size] = quiet


def cut(state: bytearray, found: Anatomy, chance: random.Random) -> None:
    """End the state too early."""
    del state[chance.choice((chance.randrange(len(state)), len(state) - 1, 8, 0)) :]


def grown(state: bytearray, found: Anatomy, chance: random.Random) -> None:
    """Add bytes at the end, or a whole part twice."""
    start, end = chance.choice(found.parts)
    state += chance.choice((b"\0", b"\0" * 12, bytes(state[start:end])))


def parts_turned(state: bytearray, found: Anatomy, chance: random.Random) -> None:
    """Put the last part first."""
    state[8:] = b"".join(bytes(state[start:end]) for start, end in reversed(found.parts))


DAMAGES: tuple[Damage, ...] = (
    number_at_random, number_at_random, number_at_random, positions_moved, positions_repeated, positions_shuffled,
    one_nan, one_nan, one_infinity, all_nan, layers_swapped, layers_noise, cut, grown, parts_turned,
)  # fmt: skip


# -- states ------------------------------------------------------------------------------------------------------------


class Bench:
    """A read book of one kind of model, an engine to try states in, and what a sound one answers."""

    def __init__(
        self, folder: Path, architecture: Architecture, memory: Memory, kv_type: KvType, flash_attention: bool
    ) -> None:
        folder.mkdir()
        model = write_model(
            folder / "tiny.gguf", architecture, layers=6 if architecture == "gemma3" else 4, embed=64, heads=1,
            kv_heads=1, feed_forward=64,
        )  # fmt: skip
        self._start = Start(
            "llama",
            (EngineSettings(model, N_CONTEXT, N_BATCH, 3, kv_type, flash_attention, threads=1, fast_kernels=False),),
        )
        self.flash_attention = flash_attention
        self.engine = EngineProcess(self._start)
        self.folder = StateFolder(folder / "state")
        self.folder.path.mkdir()
        text, question = self.engine.tokenize([chapters(8), "Who keeps the ledger?"], special=False)
        self.book, self.question = text[:N_BOOK], question
        self.extended = architecture.startswith("qwen35")
        list(self.engine.evaluate(BOOK, self.book[: 2 * N_BATCH]))
        boundary = self.engine.save_boundary(BOOK, self.folder.path / "boundary-128.bin")
        at_boundary = self.engine.probe(BOOK, self.book[N_BATCH], PROBE_TOP)
        list(self.engine.evaluate(BOOK, self.book[2 * N_BATCH :]))
        name = f"state-{N_BOOK}.bin"
        blob, _ = self.engine.save(BOOK, self.folder.path / name)
        probe = self.engine.probe(BOOK, self.book[N_BOOK // 2], 8)
        self.manifest = replace(
            BEGUN,
            key=replace(BEGUN.key, n_tokens=N_BOOK),
            memory=memory,
            build=self.engine.info.build,
            state=StateFile(name, blob),
            boundaries=(StateFile("boundary-128.bin", boundary, at_boundary),) if boundary else (),
            probe=probe,
        )
        self.folder.write_manifest(self.manifest)
        self.sound = (self.folder.path / name).read_bytes()
        self.row = self.first_row()

    def first_row(self) -> array[float]:
        """Return the logits after a question about the book."""
        self.engine.fork(BOOK, CHAT)
        row = self.engine.logits(CHAT, self.question)
        self.engine.clear(CHAT)
        return row

    def again(self) -> None:
        """Start another engine in place of one that died."""
        self.engine.close()
        self.engine = EngineProcess(self._start)

    def close(self) -> None:
        """End the engine."""
        self.engine.close()


def blob_of(bench: Bench, content: bytes, like: Blob, kinds: tuple[blobs.PartKind, ...]) -> Blob:
    """Describe a state as who wrote it would: with its own checksums, and its own layout where it has one."""
    parts, n_tokens = like.parts, like.n_tokens
    with memoryview(content) as view:
        try:
            flash = bench.flash_attention
            parts = blobs.parse(view, kinds, extended_cells=bench.extended, flash_attention=flash)
            n_tokens = blobs.n_tokens(parts)
        except StateError:
            pass
        return Blob(n_tokens, len(content), PIECE_BYTES, digests(view), parts)


def lies(manifest: Manifest, chance: random.Random) -> Manifest:
    """Return a manifest that describes a sound state wrongly."""
    state, probe = manifest.state, manifest.probe
    assert state is not None
    assert probe is not None
    blob, part = state.blob, state.blob.parts[0]
    number = chance.choice((0, 1, -1, N_BOOK - 1, N_BOOK + 1, 2**31, 2**63))
    blob_lies = (
        replace(blob, n_tokens=number),
        replace(blob, size_bytes=max(0, blob.size_bytes + chance.choice((-1, 1, 2**40, -blob.size_bytes)))),
        replace(blob, pieces=chance.choice(((), blob.pieces * 2, ("0" * 32,), ("x",)))),
        replace(blob, piece_bytes=chance.choice((1 << 40, 4096, PIECE_BYTES * 2))),
        replace(blob, parts=chance.choice(((), blob.parts * 2, (replace(part, cells=number), *blob.parts[1:])))),
        replace(blob, parts=(replace(part, layers=part.layers[::-1][1:]), *blob.parts[1:])),
    )
    probe_lies = (
        replace(probe, token=chance.choice((-1, 2**31 - 1, 10**9))),
        replace(probe, top=()),
        replace(probe, top=tuple((token, logit + 1) for token, logit in probe.top)),
        replace(probe, top=tuple((token, math.nan) for token, _ in probe.top)),
    )
    if chance.random() < 0.6:
        return replace(manifest, state=replace(state, blob=chance.choice(blob_lies)))
    return replace(manifest, probe=chance.choice(probe_lies))


def try_states(bench: Bench, memory: Memory, count: int, chance: random.Random, report: Report) -> None:
    """Restore states that lie, each with checksums that fit."""
    assert bench.manifest.state is not None
    name, like = bench.manifest.state.name, bench.manifest.state.blob
    kinds = blobs.FULL_PARTS[memory]
    found = anatomy(bench.sound, kinds, extended=bench.extended)
    path = bench.folder.path / name
    for _ in range(count):
        state, manifest = bytearray(bench.sound), bench.manifest
        if chance.random() < 0.2:
            manifest, what = lies(manifest, chance), "a manifest that lies"
        else:
            damage = chance.choice(DAMAGES)
            what = damage.__name__.replace("_", " ")
            damage(state, found, chance)
            blob = blob_of(bench, bytes(state), like, kinds)
            manifest = replace(manifest, state=StateFile(name, blob))
        path.write_bytes(state)
        bench.folder.write_manifest(manifest)
        report.counts["states tried"] += 1
        outcome = tried(bench)
        if outcome.startswith("accepted") and what == "one infinity":
            outcome = UNSEEN  # who makes the checksums fit can write any one value: the proof sees logits, not values
        if outcome not in KNOWN:
            report.broken.append(f"A {memory} state with {what}: {outcome}")
            outcome = "states that broke a promise"
        report.counts[outcome] += 1
    path.write_bytes(bench.sound)
    bench.folder.write_manifest(bench.manifest)


REFUSED, PROBED, CONTAINED, SAME, UNSEEN = (
    "states refused by their layout", "states refused by their logits", "states that ended the engine's process only",
    "states that answer the same", "states with one value changed that the proof does not see",
)  # fmt: skip
KNOWN = (REFUSED, PROBED, CONTAINED, SAME, UNSEEN)


def tried(bench: Bench) -> str:
    """Restore the state that is on disk, as opening a book does, and say what became of it."""
    try:
        manifest = bench.folder.manifest()
        restore(bench.engine, bench.folder, manifest, manifest.state)
        row = bench.first_row()
    except EngineDied as died:
        bench.again()
        return CONTAINED if sentence(died) else f"died without a sentence: {died.message!r}"
    except CagchatError as error:
        bench.engine.clear(BOOK)
        bench.engine.clear(CHAT)
        if not sentence(error):
            return f"refused without a sentence: {error.message!r}"
        return PROBED if "logits" in error.message else REFUSED
    off = max(abs(one - other) for one, other in zip(row, bench.row, strict=True))
    return SAME if off <= SAME_BUILD else f"accepted, and its answer is off by {off:.3f}"


def sentence(error: CagchatError) -> bool:
    """Tell whether an error is a whole sentence that can be shown."""
    return error.message.endswith(".") and error.message.replace("\n", " ").isprintable() and bool(error.hint)


def try_boundaries(bench: Bench, memory: Memory, count: int, chance: random.Random, report: Report) -> None:
    """Rewind by boundaries that lie, each with checksums that fit.

    Where a window is dealt anew the one token of the proof may notice nothing: a noise model sees all of it alike.
    """
    restore(bench.engine, bench.folder, bench.manifest, bench.manifest.state)
    kinds = blobs.BOUNDARY_PARTS[memory]
    for file in bench.manifest.boundaries:
        path = bench.folder.path / file.name
        sound = path.read_bytes()
        found = anatomy(sound, kinds, extended=bench.extended)
        right = rewound(bench)
        assert not isinstance(right, str), right
        for _ in range(count):
            state = bytearray(sound)
            damage = chance.choice(DAMAGES)
            damage(state, found, chance)
            path.write_bytes(state)
            lying = replace(file, blob=blob_of(bench, bytes(state), file.blob, kinds))
            bench.folder.write_manifest(replace(bench.manifest, boundaries=(lying,)))
            report.counts["boundaries tried"] += 1
            row = rewound(bench)
            if isinstance(row, str):
                report.counts[f"boundaries {row}"] += 1
                continue
            off = max(abs(one - other) for one, other in zip(row, right, strict=True))
            if off <= SAME_BUILD:
                report.counts["boundaries that answer the same"] += 1
            elif damage is one_infinity:  # as with states: the proof sees logits, not values
                report.counts["boundaries with one value changed that the proof does not see"] += 1
            elif damage is positions_shuffled and memory == "sliding":
                report.counts["windows dealt anew that the proof does not see"] += 1
            else:
                report.broken.append(f"A {memory} boundary with {damage.__name__}: its answer is off by {off:.3f}.")
        path.write_bytes(sound)
        bench.folder.write_manifest(bench.manifest)


def rewound(bench: Bench) -> array[float] | str:
    """Rewind a fork of the book by the boundary on disk and ask; return the logits, or what became of it."""
    engine = bench.engine
    try:
        (file,) = bench.folder.manifest().boundaries
        engine.fork(BOOK, CHAT)
        rewind_to_boundary(engine, bench.folder, bench.manifest, file)
        return engine.logits(CHAT, bench.question)
    except EngineDied:
        bench.again()
        restore(bench.engine, bench.folder, bench.manifest, bench.manifest.state)
        return "that ended the engine's process only"
    except CagchatError as error:
        return "refused by their logits" if "logits" in error.message else "refused by their layout"


# -- models ------------------------------------------------------------------------------------------------------------


def try_models(folder: Path, count: int, most_loaded: int, chance: random.Random, report: Report) -> None:
    """Damage headers; what our own reading of them accepts is loaded and asked."""
    seeds = {}
    for architecture in ARCHITECTURES:
        path = folder / f"{architecture}.gguf"
        layers = 6 if architecture == "gemma3" else 4
        write_model(path, architecture, layers=layers, embed=64, heads=1, kv_heads=1, feed_forward=64)
        content = path.read_bytes()
        seeds[architecture] = (content, layout(content))
    path = folder / "damaged.gguf"
    loaded = 0
    for _ in range(count):
        content, places = seeds[chance.choice(ARCHITECTURES)]
        damaged = mutate(content, places, at_random(chance))
        report.counts["models tried"] += 1
        try:
            check_loadable(parse_header(damaged, path, thorough=True))
        except ModelError as error:
            report.counts["models refused by their headers"] += 1
            if not sentence(error):
                report.broken.append(f"A model was refused without a sentence: {error.message!r}")
            continue
        report.counts["models accepted"] += 1
        if loaded < most_loaded and damaged != content:
            loaded += 1
            path.write_bytes(damaged)
            report.counts[f"models {loading(path, report)}"] += 1


def try_weights(folder: Path, count: int, chance: random.Random, report: Report) -> None:
    """Put NaN and infinities among the weights: no token may be chosen by what comes out."""
    path = folder / "weights.gguf"
    for number in range(count):
        architecture = ARCHITECTURES[number % len(ARCHITECTURES)]
        layers = 6 if architecture == "gemma3" else 4
        write_model(path, architecture, layers=layers, embed=64, heads=1, kv_heads=1, feed_forward=64)
        tensors = gguf.GGUFReader(path, "r+").tensors
        tensor = chance.choice([tensor for tensor in tensors if tensor.name != "token_embd.weight"])
        values = tensor.data.reshape(-1)
        values[chance.randrange(len(values))] = chance.choice((np.nan, np.inf, -np.inf))
        del tensor, values, tensors
        report.counts["models with a weight that is no number"] += 1
        report.counts[f"of them {loading(path, report)}"] += 1


def loading(path: Path, report: Report) -> str:
    """Load a model, read with it and ask it; say what became of it."""
    settings = EngineSettings(path, n_context=256, n_batch=N_BATCH, threads=1, fast_kernels=False)
    try:
        with closing(EngineProcess(Start("llama", (settings,)))) as engine:
            n_vocab = engine.info.vocabulary.n_vocab
            text: Tokens = [token % n_vocab for token in range(100)]
            for _ in engine.evaluate(BOOK, text):
                pass
            engine.probe(BOOK, text[1], 4)
            row = engine.logits(CHAT, text[:8])
    except EngineDied as died:
        if not sentence(died):
            report.broken.append(f"A model ended the process without a sentence: {died.message!r}")
        return "that ended the engine's process only"
    except CagchatError as error:
        if not sentence(error):
            report.broken.append(f"A model was refused without a sentence: {error.message!r}")
        return "refused by their logits" if "logits" in error.message else "refused by llama.cpp"
    if not all(map(math.isfinite, row)):
        report.broken.append("A model was asked though its logits are no numbers.")
    return "that compute numbers"


def run(terms: Terms) -> Report:
    """Do all of it."""
    report, chance = Report(), terms.chance("hostile")
    for number, kind in enumerate(SETS[: terms.rounds(len(SETS), least=2)]):
        memory = kind[1]
        with closing(Bench(terms.folder / f"bench-{number}", *kind)) as bench:
            try_states(bench, memory, terms.rounds(400, least=40), chance, report)
            try_boundaries(bench, memory, terms.rounds(100, least=10), chance, report)
    folder = terms.folder / "models"
    folder.mkdir()
    try_models(folder, terms.rounds(5000, least=150), terms.rounds(100, least=2), chance, report)
    try_weights(folder, terms.rounds(40, least=2), chance, report)
    return report


PART = Part("hostile", "states and models that lie: refused, or contained in the engine's process", run)
