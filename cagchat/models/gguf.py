"""Read the header of a GGUF file: what the model is, and where its tensors lie, without loading any.

    magic "GGUF", u32 version, u64 tensor count, u64 key count
    keys:    string name, u32 kind, value          a string is u64 bytes + UTF-8; an array is u32 kind, u64 count, items
    tensors: string name, u32 n, n x u64 size, u32 type, u64 offset        offsets count from the data
    padding to `general.alignment`, then the data

Any file may be handed in: a damaged or hostile one ends in a `ModelError`, after work bounded by `HEADER_LIMIT_BYTES`.
Ours and not the `gguf` package's because that one takes 7 s for a vocabulary of 150,000 tokens; this takes 0.03 s.
"""

from __future__ import annotations

import mmap
import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from pathlib import Path
from struct import Struct

from cagchat.errors import ModelError
from cagchat.models.contradictions import contradictions

TEMPLATE_KEY = "tokenizer.chat_template"
TOKENS_KEY = "tokenizer.ggml.tokens"
MAGIC = b"GGUF"
VERSIONS = (2, 3)
DEFAULT_ALIGNMENT = 32
HEADER_LIMIT_BYTES = 64 << 20  # a vocabulary of 250,000 tokens and its merges take about 10 MB
KEPT_ITEMS = 1024  # one value a layer is kept; vocabularies are not
MAX_KEYS, MAX_TENSORS = 1 << 16, 1 << 17  # fifty times what the largest models have
MAX_KEY_BYTES = 1024  # a tenth of it is long
KEY_BYTES, TENSOR_BYTES = 14, 25  # the least an entry takes
MAX_DIMENSIONS, MAX_NAME_BYTES = 4, 63  # GGML_MAX_DIMS, GGML_MAX_NAME - 1

FETCH_AGAIN = "Fetch the file again: it is damaged, or its download did not finish."
WANTED = "cagchat needs a language model in GGUF format; `cagchat models` lists those that are here."

PART_NAME = re.compile(r"(?P<stem>.*)-\d{5}-of-(?P<count>\d{5})\.gguf", re.DOTALL)

Scalar = int | float | bool

STRING, ARRAY = 8, 9
SCALARS = {
    0: ("u8", Struct("<B")),
    1: ("i8", Struct("<b")),
    2: ("u16", Struct("<H")),
    3: ("i16", Struct("<h")),
    4: ("u32", Struct("<I")),
    5: ("i32", Struct("<i")),
    6: ("f32", Struct("<f")),
    7: ("bool", Struct("<?")),
    10: ("u64", Struct("<Q")),
    11: ("i64", Struct("<q")),
    12: ("f64", Struct("<d")),
}
U32, U64 = SCALARS[4][1], SCALARS[10][1]

# Tensor types by number: name, elements a block, bytes a block (ggml.h, ggml-common.h). Types that exist only while
# computing (Q8_1, Q8_K) are left out.
TENSOR_TYPES = {
    0: ("F32", 1, 4),
    1: ("F16", 1, 2),
    2: ("Q4_0", 32, 18),
    3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34),
    10: ("Q2_K", 256, 84),
    11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210),
    16: ("IQ2_XXS", 256, 66),
    17: ("IQ2_XS", 256, 74),
    18: ("IQ3_XXS", 256, 98),
    19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18),
    21: ("IQ3_S", 256, 110),
    22: ("IQ2_S", 256, 82),
    23: ("IQ4_XS", 256, 136),
    24: ("I8", 1, 1),
    25: ("I16", 1, 2),
    26: ("I32", 1, 4),
    27: ("I64", 1, 8),
    28: ("F64", 1, 8),
    29: ("IQ1_M", 256, 56),
    30: ("BF16", 1, 2),
    34: ("TQ1_0", 256, 54),
    35: ("TQ2_0", 256, 66),
    39: ("MXFP4", 32, 17),
    40: ("NVFP4", 64, 36),
    41: ("Q1_0", 128, 18),
    42: ("Q2_0", 64, 18),
}


@dataclass(frozen=True, slots=True)
class ArrayInfo:
    """An array in the metadata: the kind of its items and how many; `values` of a short one that is not of strings."""

    kind: str
    count: int
    values: tuple[Scalar, ...] = ()


Value = Scalar | str | ArrayInfo


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """A tensor: `dimensions` with the contiguous one first, `type_name` as ggml has it, `offset` into the data."""

    name: str
    dimensions: tuple[int, ...]
    type_name: str
    offset: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Header:
    """What a GGUF file says about itself; `size_bytes` is the file's, tensor data starts at `data_offset`.

    `meaning_digest` is the xxh3_128 (hexadecimal) of the metadata that changes what the weights compute: the
    architecture's own keys (RoPE base, experts used, epsilon) and the tokenizer's, not names and chat template.
    """

    path: Path
    version: int
    metadata: Mapping[str, Value]
    tensors: tuple[TensorInfo, ...]
    data_offset: int
    size_bytes: int
    meaning_digest: str = ""

    @property
    def architecture(self) -> str:
        """The name llama.cpp chooses its graph by, as "qwen35"."""
        return self.text("general.architecture")

    @property
    def name(self) -> str:
        """The model's own name, else the file's."""
        return self.text("general.name") or self.path.stem

    @property
    def chat_template(self) -> str:
        """The Jinja program that frames a chat, or ""."""
        return self.text(TEMPLATE_KEY)

    @property
    def context_length(self) -> int:
        """How many tokens the model was trained to see, 0 when it does not say."""
        return self.number("context_length")

    @property
    def block_count(self) -> int:
        """How many layers it has."""
        return self.number("block_count")

    @property
    def vocabulary_size(self) -> int:
        """How many tokens its tokenizer lists."""
        tokens = self.metadata.get(TOKENS_KEY)
        return tokens.count if isinstance(tokens, ArrayInfo) else 0

    @property
    def part(self) -> tuple[int, int]:
        """Which part of a split model this is, from 1, and of how many; (1, 1) for a whole one."""
        index, count = self.metadata.get("split.no"), self.metadata.get("split.count")
        return (index + 1, max(count, 1)) if isinstance(index, int) and isinstance(count, int) else (1, 1)

    @property
    def part_paths(self) -> tuple[Path, ...]:
        """The files of the model in order, by the names that llama.cpp gives them; only this one for a whole model."""
        _, count = self.part
        match = PART_NAME.fullmatch(self.path.name)
        if match is None or int(match["count"]) != count:
            return (self.path,)
        return tuple(self.path.with_name(f"{match['stem']}-{i:05d}-of-{count:05d}.gguf") for i in range(1, count + 1))

    def text(self, key: str) -> str:
        """Return a string of the metadata, "" when it is missing or something else."""
        value = self.metadata.get(key)
        return value if isinstance(value, str) else ""

    def number(self, key: str) -> int:
        """Return an integer of the architecture's own metadata, as "block_count"; 0 when it is missing."""
        value = self.metadata.get(f"{self.architecture}.{key}")
        return value if isinstance(value, int) else 0

    def numbers(self, key: str) -> tuple[Scalar, ...]:
        """Return the numbers under a key of the architecture's own, one or one a layer; () when it is missing."""
        value = self.metadata.get(f"{self.architecture}.{key}")
        if isinstance(value, ArrayInfo):
            return value.values
        return () if value is None or isinstance(value, str) else (value,)


def read_header(path: Path) -> Header:
    """Read the header of a model that can be loaded from `path`.

    Raises `ModelError` when the file cannot be read, is damaged, has no weights, or is a later part of a split model.
    """
    header = read_any_header(path, thorough=True)
    check_loadable(header)
    return header


def read_any_header(path: Path, *, thorough: bool = False) -> Header:
    """Read the header of any sound GGUF file, a part of a model or a vocabulary as well; see `parse_header`."""
    with mapped(path) as data:
        return parse_header(data, path, thorough=thorough)


@contextmanager
def mapped(path: Path) -> Iterator[bytes | mmap.mmap]:
    """Map a file for reading; `ModelError` says why that is impossible."""
    try:
        if path.is_dir():
            raise ModelError(f"{path} is a folder, not a GGUF file.", WANTED)
        # A named pipe would wait for its writer when opened.
        if not stat.S_ISREG(path.stat().st_mode):
            raise ModelError(f"{path} is a device or a pipe, not a GGUF file.", WANTED)
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size == 0:
                yield b""
            else:
                with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                    yield data
    except FileNotFoundError as error:
        raise ModelError(f"There is no model at {path}.", WANTED) from error
    except OSError as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, error: OSError) -> ModelError:
    """Say why the operating system does not let `path` be read."""
    reason = os.strerror(error.errno) if error.errno else str(error)
    return ModelError(
        f"{path} cannot be read: {reason}.",
        "Make the file readable, or choose another model: `cagchat models` lists them.",
    )


def check_loadable(header: Header) -> None:
    """Refuse what llama.cpp could not load as a model, though the file is sound."""
    part, count = header.part
    if part != 1:
        raise ModelError(
            f"{header.path} is part {part} of {count} of a split model.",
            "Give the first part, whose name holds `-00001-of-`; the others are found beside it.",
        )
    if len(header.part_paths) != count:
        raise ModelError(
            f"{header.path} is the first of {count} parts, but is not named like one.",
            f"Name the parts NAME-00001-of-{count:05d}.gguf and so on: llama.cpp finds them by their names.",
        )
    if not header.tensors and count == 1:
        holds = "a tokenizer but no weights" if "tokenizer.ggml.model" in header.metadata else "no weights"
        raise ModelError(f"{header.path} holds {holds}.", WANTED)
    if not header.architecture:
        raise ModelError(f"{header.path} does not say of which architecture it is.", WANTED)
    if header.architecture == "clip":
        raise ModelError(f"{header.path} lets a model see images; it is not a language model.", WANTED)
    for contradiction in contradictions(header):
        raise ModelError(f"{header.path} is damaged: {contradiction}.", FETCH_AGAIN)


def parse_header(data: bytes | mmap.mmap, path: Path, *, thorough: bool = False) -> Header:
    """Parse the header at the start of a whole file's bytes; `path` is for messages.

    `thorough` looks at every token of the vocabulary as well, which takes three times as long (0.08 s for 150,000).
    """
    size_bytes = len(data)
    reader = Reader(data, path, thorough=thorough)
    version = reader.version()
    n_tensors = reader.count("tensors", MAX_TENSORS, TENSOR_BYTES)
    n_keys = reader.count("keys", MAX_KEYS, KEY_BYTES)
    metadata: dict[str, Value] = {}
    places: dict[str, slice] = {}
    for _ in range(n_keys):
        key = reader.name("key", MAX_KEY_BYTES)
        if key in metadata:
            raise reader.damaged(f"the key {key} is there twice")
        start = reader.position
        metadata[key] = reader.value(key)
        places[key] = slice(start, reader.position)
    alignment = metadata.get("general.alignment", DEFAULT_ALIGNMENT)
    if not isinstance(alignment, int) or alignment < 1 or alignment & (alignment - 1):
        raise reader.damaged(f"its alignment is {alignment!r}, not a power of two")
    tensors = tuple(reader.tensor() for _ in range(n_tensors))
    data_offset = min(-(-reader.position // alignment) * alignment, size_bytes)
    check_tensors(reader, tensors, data_offset, alignment)
    return Header(path, version, metadata, tensors, data_offset, size_bytes, digest_of_meaning(data, places))


def digest_of_meaning(data: bytes | mmap.mmap, places: Mapping[str, slice]) -> str:
    """Return the digest over every key but general ones and the chat template, in an order that files cannot choose."""
    import xxhash

    digest = xxhash.xxh3_128()
    for key in sorted(places):
        if not key.startswith(("general.", "split.")) and key != TEMPLATE_KEY:
            digest.update(key.encode() + b"\0")
            digest.update(data[places[key]])
    return digest.hexdigest()


def check_tensors(reader: Reader, tensors: tuple[TensorInfo, ...], data_offset: int, alignment: int) -> None:
    """Refuse tensors that share a name, lie off the alignment, reach past the file's end, or overlap."""
    names = set()
    for tensor in tensors:
        if tensor.name in names:
            raise reader.damaged(f"tensor {tensor.name} is there twice")
        names.add(tensor.name)
        if tensor.offset % alignment:
            raise reader.damaged(f"tensor {tensor.name} lies at offset {tensor.offset}, not a multiple of {alignment}")
        end = data_offset + tensor.offset + tensor.size_bytes
        if end > reader.size_bytes:
            raise reader.cut_short(f"tensor {tensor.name} ends at byte {end}")
    for before, after in pairwise(sorted(tensors, key=lambda tensor: tensor.offset)):
        if before.offset + before.size_bytes > after.offset:
            raise reader.damaged(f"tensors {before.name} and {after.name} overlap")


class Reader:
    """Walks a header's bytes; every step is checked against the end of the file and the limit for headers."""

    __slots__ = ("data", "end", "path", "position", "size_bytes", "thorough")

    def __init__(self, data: bytes | mmap.mmap, path: Path, *, thorough: bool = False) -> None:
        self.data = data
        self.path = path
        self.thorough = thorough
        self.size_bytes = len(data)
        self.end = min(self.size_bytes, HEADER_LIMIT_BYTES)
        self.position = 0

    def version(self) -> int:
        """Read magic and version."""
        start = self.data[: len(MAGIC)]
        if start != MAGIC:
            found = f"starts with {start!r}" if start else "is empty"
            raise ModelError(f"{self.path} is not a GGUF file: it {found}.", WANTED)
        self.position = len(MAGIC)
        version = self.number(U32)
        if version in VERSIONS:
            return version
        if int.from_bytes(version.to_bytes(4, "little"), "big") in VERSIONS:
            raise ModelError(f"{self.path} is a big-endian GGUF file.", "Fetch the little-endian file of this model.")
        raise ModelError(
            f"{self.path} is a GGUF file of version {version}; versions 2 and 3 are known.",
            "Fetch the file again, or a newer conversion of this model.",
        )

    def number(self, form: Struct) -> int:
        """Read one number of the form."""
        start = self.skip(form.size)
        number: int = form.unpack_from(self.data, start)[0]
        return number

    def count(self, what: str, most: int, entry_bytes: int) -> int:
        """Read how many entries follow; more than could be there are refused before the first is looked at."""
        count = self.number(U64)
        if count > most:
            raise self.damaged(f"it claims to have {count} {what}")
        if count * entry_bytes > self.size_bytes - self.position:
            raise self.cut_short(f"it claims to have {count} {what}, more than fit into the rest")
        return count

    def skip(self, size: int) -> int:
        """Step over `size` bytes and return where they start."""
        start = self.position
        if size > self.end - start:
            raise self.over(start + size)
        self.position = start + size
        return start

    def bytes_of_string(self) -> bytes:
        """Read a string's bytes."""
        start = self.skip(self.number(U64))
        return self.data[start : self.position]

    def name(self, what: str, max_bytes: int) -> str:
        """Read the name of a key or tensor."""
        raw = self.bytes_of_string()
        if not 0 < len(raw) <= max_bytes:
            raise self.damaged(f"a {what} has a name of {len(raw)} bytes")
        try:
            name = raw.decode()
        except UnicodeDecodeError as error:
            raise self.damaged(f"a {what} has a name that is not UTF-8") from error
        if not name.isprintable():  # names stand in messages on a terminal
            raise self.damaged(f"a {what} has the name {name!r}")
        return name

    def value(self, key: str) -> Value:
        """Read the kind and value of a key."""
        kind = self.number(U32)
        if kind in SCALARS:
            return self.number(SCALARS[kind][1])
        if kind == STRING:
            return self.bytes_of_string().decode(errors="replace")
        if kind == ARRAY:
            return self.array(key)
        raise self.damaged(f"the key {key} has a value of the unknown kind {kind}")

    def array(self, key: str) -> ArrayInfo:
        """Read an array, keeping its values when they are few and no strings."""
        kind, count = self.number(U32), self.number(U64)
        if kind == STRING:
            start = self.position
            self.skip_strings(count)
            if key == TOKENS_KEY and self.thorough:
                self.check_tokens(start, count)
            return ArrayInfo("string", count)
        if kind == ARRAY:
            raise self.damaged(f"the key {key} holds arrays inside an array, which llama.cpp does not read")
        if kind not in SCALARS:
            raise self.damaged(f"the key {key} holds an array of the unknown kind {kind}")
        name, form = SCALARS[kind]
        start = self.skip(count * form.size)
        if count > KEPT_ITEMS:
            return ArrayInfo(name, count)
        return ArrayInfo(name, count, tuple(item for (item,) in form.iter_unpack(self.data[start : self.position])))

    def skip_strings(self, count: int) -> None:
        """Step over strings without building them: the one loop whose length is a vocabulary's."""
        data, position, length_at = self.data, self.position, U64.unpack_from
        last = self.end - U64.size
        for _ in range(count):
            if position > last:
                raise self.over(position + U64.size)
            position += U64.size + length_at(data, position)[0]
        self.position = position
        self.skip(0)

    def check_tokens(self, start: int, count: int) -> None:
        """Refuse a vocabulary that has a token twice: llama.cpp aborts over one (llama-vocab.cpp)."""
        strings, length_at, at = self.data[start : self.position], U64.unpack_from, 0
        seen = set()
        for number in range(count):
            begin = at + U64.size
            at = begin + length_at(strings, at)[0]
            seen.add(strings[begin:at] or b"[EMPTY_%d]" % number)  # what llama.cpp calls them
        if len(seen) != count:
            raise self.damaged(f"its vocabulary of {count} tokens has only {len(seen)} different ones")

    def tensor(self) -> TensorInfo:
        """Read one tensor's entry."""
        name = self.name("tensor", MAX_NAME_BYTES)
        n_dimensions = self.number(U32)
        if n_dimensions > MAX_DIMENSIONS:
            raise self.damaged(f"tensor {name} has {n_dimensions} dimensions")
        dimensions = tuple(self.number(U64) for _ in range(n_dimensions))
        kind, offset = self.number(U32), self.number(U64)
        if kind not in TENSOR_TYPES:
            raise ModelError(
                f"{self.path} cannot be used: tensor {name} has the unknown type {kind}.",
                "Fetch the model in another quantisation, as Q4_K_M.",
            )
        type_name, block, block_bytes = TENSOR_TYPES[kind]
        if dimensions and dimensions[0] % block:
            raise self.damaged(
                f"tensor {name} has rows of {dimensions[0]}, which {type_name} cannot divide into {block}s"
            )
        return TensorInfo(name, dimensions, type_name, offset, prod(dimensions) // block * block_bytes)

    def over(self, needed: int) -> ModelError:
        """Describe a header that goes on after the last byte that may be read."""
        if self.end < self.size_bytes:
            return self.damaged(f"its header does not end within {HEADER_LIMIT_BYTES >> 20} MiB")
        return self.cut_short(f"its header goes on to byte {needed} at least")

    def cut_short(self, what: str) -> ModelError:
        """Describe a file that ends too early."""
        return ModelError(f"{self.path} is cut short: {what} of a file of {self.size_bytes} bytes.", FETCH_AGAIN)

    def damaged(self, what: str) -> ModelError:
        """Describe a file that contradicts itself."""
        return ModelError(f"{self.path} is damaged: {what}.", FETCH_AGAIN)
