"""The GGUF header reader: what it finds, and that it survives any file."""

from __future__ import annotations

import os
from pathlib import Path
from struct import pack

import gguf
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cagchat.errors import ModelError
from cagchat.models.gguf import (
    HEADER_LIMIT_BYTES,
    KEPT_ITEMS,
    TENSOR_TYPES,
    ArrayInfo,
    Scalar,
    parse_header,
    read_any_header,
    read_header,
)

PATH = Path("model.gguf")
F32, Q8_0 = 0, 8


def text(value: str) -> bytes:
    """Return a string as GGUF stores it."""
    return pack("<Q", len(value.encode())) + value.encode()


def string_key(name: str, value: str) -> bytes:
    return text(name) + pack("<I", 8) + text(value)


def number_key(name: str, value: int) -> bytes:
    return text(name) + pack("<II", 4, value)


def array_key(name: str, kind: int, count: int, items: bytes) -> bytes:
    return text(name) + pack("<IIQ", 9, kind, count) + items


def tensor(name: str, sizes: tuple[int, ...] = (8,), kind: int = F32, offset: int = 0) -> bytes:
    return text(name) + pack(f"<I{len(sizes)}QIQ", len(sizes), *sizes, kind, offset)


LLAMA = string_key("general.architecture", "llama")


def file_bytes(
    keys: tuple[bytes, ...] = (LLAMA,),
    tensors: tuple[bytes, ...] = (tensor("a"),),
    *,
    version: int = 3,
    data: int = 32,
    alignment: int = 32,
) -> bytes:
    """Return a whole file with `data` bytes of tensors."""
    head = b"GGUF" + pack("<IQQ", version, len(tensors), len(keys)) + b"".join(keys) + b"".join(tensors)
    return head + bytes(-len(head) % alignment) + bytes(data)


def refusal(content: bytes) -> str:
    with pytest.raises(ModelError) as caught:
        parse_header(content, PATH)
    assert caught.value.message.endswith(".")
    assert caught.value.hint
    return caught.value.message


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Write a GGUF of 1 KB with many kinds of values by the gguf package."""
    path = tmp_path_factory.mktemp("real") / "m.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("Tiny")
    writer.add_context_length(64)
    writer.add_rope_freq_base(1e4)
    writer.add_add_bos_token(False)
    writer.add_uint64("a.u64", 1 << 40)
    writer.add_int8("a.i8", -3)
    writer.add_float64("a.f64", 0.5)
    writer.add_token_list(["a", "é", ""])
    writer.add_token_scores([0.5, -1.0, 0.0])
    writer.add_chat_template("{{ messages }}")
    writer.add_tensor("token_embd.weight", np.zeros((3, 8), np.float32))
    writer.add_tensor("output.weight", np.zeros((2, 4), np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path.read_bytes()


def test_values_are_read(real: bytes) -> None:
    """Numbers, flags and strings come back as they were written."""
    header = parse_header(real, PATH)
    found = {key: header.metadata[key] for key in ("a.u64", "a.i8", "a.f64", "llama.rope.freq_base")}
    assert found == {"a.u64": 1 << 40, "a.i8": -3, "a.f64": 0.5, "llama.rope.freq_base": 1e4}
    assert header.metadata["tokenizer.ggml.add_bos_token"] is False


def test_properties_name_the_usual_values(real: bytes) -> None:
    """The values that every caller wants have properties."""
    header = parse_header(real, PATH)
    assert (header.architecture, header.name, header.context_length) == ("llama", "Tiny", 64)
    assert (header.chat_template, header.vocabulary_size, header.part) == ("{{ messages }}", 3, (1, 1))


def test_missing_values_are_empty() -> None:
    """A model that says nothing about itself is named after its file."""
    header = parse_header(file_bytes(()), PATH)
    assert (header.name, header.architecture, header.chat_template, header.context_length) == ("model", "", "", 0)


def test_short_arrays_of_numbers_are_kept(real: bytes) -> None:
    """An array with a number a layer keeps its values."""
    assert parse_header(real, PATH).metadata["tokenizer.ggml.scores"] == ArrayInfo("f32", 3, (0.5, -1.0, 0.0))


def test_strings_in_arrays_are_only_counted(real: bytes) -> None:
    """The tokens of a vocabulary are counted, not built."""
    assert parse_header(real, PATH).metadata["tokenizer.ggml.tokens"] == ArrayInfo("string", 3)


def test_long_arrays_are_only_counted() -> None:
    """An array longer than any model has layers is counted, not built."""
    count = KEPT_ITEMS + 1
    header = parse_header(file_bytes((array_key("a", 0, count, bytes(count)),)), PATH)
    assert header.metadata["a"] == ArrayInfo("u8", count)


@pytest.mark.parametrize("version", [2, 3])
def test_known_versions_are_read(version: int) -> None:
    """Versions 2 and 3 differ only in their number."""
    assert parse_header(file_bytes(version=version), PATH).version == version


def test_alignment_moves_the_data() -> None:
    """Tensor data starts at the next multiple of the file's own alignment."""
    header = parse_header(file_bytes((number_key("general.alignment", 4096),), alignment=4096), PATH)
    assert header.data_offset == 4096


def test_block_sizes_are_those_of_the_gguf_package() -> None:
    """Every tensor type that both know has the same number, name and block size."""
    theirs = {kind.value: (kind.name, *sizes) for kind, sizes in gguf.GGML_QUANT_SIZES.items()}
    shared = TENSOR_TYPES.keys() & theirs.keys()
    assert {kind: TENSOR_TYPES[kind] for kind in shared} == {kind: theirs[kind] for kind in shared}
    assert theirs.keys() - shared == {gguf.GGMLQuantizationType.Q8_1, gguf.GGMLQuantizationType.Q8_K}


def test_quantised_tensors_are_measured_in_blocks() -> None:
    """A quantised tensor takes whole blocks."""
    header = parse_header(file_bytes(tensors=(tensor("a", (64, 3), Q8_0),), data=204), PATH)
    assert header.tensors[0].size_bytes == 2 * 3 * 34


def test_metadata_agree_with_the_gguf_package(real: bytes, tmp_path: Path) -> None:
    """The gguf package's reader finds the same keys and scalars."""
    path = tmp_path / "m.gguf"
    path.write_bytes(real)
    fields = gguf.GGUFReader(path).fields
    ours = read_header(path).metadata
    assert set(ours) == {key for key in fields if not key.startswith("GGUF.")}
    for key, value in ours.items():
        if isinstance(value, Scalar | str):
            assert fields[key].contents() == value


@pytest.mark.parametrize(
    ("content", "found"), [(b"", "is empty"), (b"PK\x03\x04", "starts with b'PK"), (b"GG", "starts")]
)
def test_other_files_are_named_as_such(content: bytes, found: str) -> None:
    """A file without the magic is not a GGUF file, and the message says what it starts with."""
    assert refusal(content).startswith(f"model.gguf is not a GGUF file: it {found}")


def test_big_endian_is_named() -> None:
    """A big-endian file is recognised by its swapped version."""
    assert "big-endian" in refusal(b"GGUF" + pack(">IQQ", 3, 1, 1))


@pytest.mark.parametrize("version", [0, 1, 4, 1 << 31])
def test_unknown_versions_are_refused(version: int) -> None:
    """A version that llama.cpp does not read is refused with its number."""
    assert f"version {version};" in refusal(file_bytes(version=version))


def test_every_cut_is_noticed(real: bytes) -> None:
    """However early a file ends, it is refused; only padding after the last tensor may be missing."""
    header = parse_header(real, PATH)
    needed = max(header.data_offset + tensor.offset + tensor.size_bytes for tensor in header.tensors)
    for size in range(needed):
        with pytest.raises(ModelError):
            parse_header(real[:size], PATH)
    assert parse_header(real[:needed], PATH).tensors == header.tensors


def test_cut_tensor_is_named() -> None:
    """A download that stopped says which tensor is missing bytes, and of how many."""
    content = file_bytes()
    assert refusal(content[:-1]) == (
        f"model.gguf is cut short: tensor a ends at byte {len(content)} of a file of {len(content) - 1} bytes."
    )


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"GGUF" + pack("<IQQ", 3, 1 << 60, 1) + bytes(99), "tensors"),
        (b"GGUF" + pack("<IQQ", 3, 0, 1 << 60) + bytes(99), "keys"),
        (b"GGUF" + pack("<IQQ", 3, 0, 1000) + bytes(99), "keys"),
        (file_bytes((LLAMA, LLAMA)), "general.architecture is there twice"),
        (file_bytes((text("") + pack("<I", 4),)), "name of 0 bytes"),
        (file_bytes((pack("<Q", 2) + b"\xff\xff" + pack("<IQ", 4, 0),)), "not UTF-8"),
        (file_bytes((pack("<Q", 1 << 63),)), "cut short"),
        (file_bytes((text("a") + pack("<IQ", 8, 1 << 50),)), "cut short"),
        (file_bytes((text("a") + pack("<I", 99) + bytes(9),)), "unknown kind 99"),
        (file_bytes((array_key("a", 4, 1 << 61, b""),)), "cut short"),
        (file_bytes((array_key("a", 8, 1 << 61, bytes(80)),)), "cut short"),
        (file_bytes((array_key("a", 8, 1, pack("<Q", 1 << 63)),)), "cut short"),
        (file_bytes((array_key("a", 9, 1, pack("<IQ", 9, 1)),)), "arrays inside an array"),
        (file_bytes((array_key("a", 77, 1, bytes(8)),)), "array of the unknown kind 77"),
        (file_bytes((number_key("general.alignment", 24),)), "not a power of two"),
        (file_bytes((number_key("general.alignment", 0),)), "not a power of two"),
        (file_bytes((string_key("general.alignment", "32"),)), "not a power of two"),
        (file_bytes(tensors=(tensor("x" * 64),)), "name of 64 bytes"),
        (file_bytes(tensors=(tensor("a", (1, 1, 1, 1, 1)),)), "5 dimensions"),
        (file_bytes(tensors=(tensor("a", (33,), Q8_0),)), "cannot divide"),
        (file_bytes(tensors=(tensor("a", kind=4),)), "unknown type 4"),
        (file_bytes(tensors=(tensor("a", (1 << 63, 1 << 63)),)), "tensor a ends"),
        (file_bytes(tensors=(tensor("a", offset=1 << 63),)), "tensor a ends"),
        (file_bytes(tensors=(tensor("a", offset=8),), data=64), "offset 8"),
        (file_bytes(tensors=(tensor("a"), tensor("a", offset=32)), data=64), "tensor a is there twice"),
        (file_bytes(tensors=(tensor("a", (16,)), tensor("b", offset=32)), data=64), "a and b overlap"),
    ],
)
def test_contradictions_are_refused(content: bytes, reason: str) -> None:
    """A header that cannot be true is refused with what is wrong about it."""
    assert reason in refusal(content)


def test_endless_headers_are_refused(tmp_path: Path) -> None:
    """A header larger than any real one is refused, however large the file."""
    path = tmp_path / "m.gguf"
    path.write_bytes(file_bytes((text("a") + pack("<IQ", 8, HEADER_LIMIT_BYTES),), ()))
    os.truncate(path, 4 * HEADER_LIMIT_BYTES)  # sparse
    with pytest.raises(ModelError, match="does not end within 64 MiB"):
        read_any_header(path)


@given(st.binary(max_size=400), st.booleans())
@example(b"", True)
@settings(deadline=None)
def test_random_bytes_are_survived(content: bytes, magic: bool) -> None:
    """Random bytes, with or without the magic, give a header or a ModelError."""
    survive(b"GGUF" + pack("<I", 3) + content if magic else content)


@given(st.data())
@settings(deadline=None, max_examples=300)
def test_mutated_files_are_survived(real: bytes, data: st.DataObject) -> None:
    """A real file with a few bytes changed, dropped or repeated gives a header or a ModelError."""
    content = bytearray(real)
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(content)))
        stop = start + data.draw(st.sampled_from([0, 1, 4, 8, 100]))
        content[start:stop] = data.draw(
            st.binary(max_size=9) | st.sampled_from([b"\xff" * 8, bytes(8), bytes(content[:99])])
        )
    survive(bytes(content))


def survive(content: bytes) -> None:
    """Check that a header's tensors lie inside the file, if there is one."""
    try:
        header = parse_header(content, PATH)
    except ModelError:
        return
    for found in header.tensors:
        assert 0 <= header.data_offset + found.offset + found.size_bytes <= len(content)


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_vocabulary_is_no_model(tmp_path: Path) -> None:
    """A file with a tokenizer and no tensors says that it has no weights."""
    path = written(tmp_path / "m.gguf", file_bytes((LLAMA, string_key("tokenizer.ggml.model", "gpt2")), ()))
    with pytest.raises(ModelError, match="holds a tokenizer but no weights"):
        read_header(path)
    assert read_any_header(path).tensors == ()


def test_projector_is_no_model(tmp_path: Path) -> None:
    """The part of a model that sees images is not a language model."""
    path = written(tmp_path / "m.gguf", file_bytes((string_key("general.architecture", "clip"),)))
    with pytest.raises(ModelError, match="not a language model"):
        read_header(path)


def test_architecture_must_be_named(tmp_path: Path) -> None:
    """A file that names no architecture cannot be loaded."""
    with pytest.raises(ModelError, match="architecture"):
        read_header(written(tmp_path / "m.gguf", file_bytes(())))


def part_bytes(index: int, count: int) -> bytes:
    return file_bytes((LLAMA, number_key("split.no", index), number_key("split.count", count)))


def test_later_parts_point_to_the_first(tmp_path: Path) -> None:
    """A later part of a split model is refused with how to find the first."""
    with pytest.raises(ModelError, match=r"is part 2 of 3 of a split model\.") as caught:
        read_header(written(tmp_path / "m-00002-of-00003.gguf", part_bytes(1, 3)))
    assert "-00001-of-" in caught.value.hint


def test_first_part_knows_the_others(tmp_path: Path) -> None:
    """The first part of a split model is accepted and names all parts."""
    header = read_header(written(tmp_path / "m-00001-of-00003.gguf", part_bytes(0, 3)))
    assert [path.name for path in header.part_paths] == [f"m-0000{i}-of-00003.gguf" for i in (1, 2, 3)]


def test_first_part_must_be_named_like_one(tmp_path: Path) -> None:
    """A renamed first part is refused, for llama.cpp finds the others by name."""
    with pytest.raises(ModelError, match="not named like one"):
        read_header(written(tmp_path / "renamed.gguf", part_bytes(0, 3)))


def test_missing_folder_and_pipe_are_told_apart(tmp_path: Path) -> None:
    """What is no regular file is refused before it is opened, with what it is."""
    os.mkfifo(tmp_path / "pipe")
    for path, reason in [
        (tmp_path / "none.gguf", "There is no model at"),
        (tmp_path, "is a folder"),
        (tmp_path / "pipe", "is a device or a pipe"),
        (tmp_path / ("x" * 300), "cannot be read"),
    ]:
        with pytest.raises(ModelError, match=reason):
            read_header(path)
