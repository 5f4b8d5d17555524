"""The models that cagchat knows and the machines they suit: the shipped list, and what a user's own file changes in it.

The file itself, config/models.toml, explains its keys and says where its numbers are from.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

from cagchat.engine.protocol import KV_TYPES, KvType
from cagchat.errors import ConfigError, ModelError
from cagchat.models.gguf import ArrayInfo, Value
from cagchat.models.shape import ModelShape, parse_shape
from cagchat.settings import parse_toml, read_text

GIB = 1 << 30
REPORTED_SHARE = 0.95  # of its nominal memory is the least that a card reports

Table = Mapping[str, object]
Schema = Mapping[str, object]

# A schema names the keys of a table, or has "*" for any; a value is a kind, another schema, or a list of one.
YARN: Schema = {"original_context": "count", "max_positions": "count"}
FILE: Schema = {"file": "text", "size_bytes": "count", "sha256": "text", "revision": "text"}
MODEL: Schema = {
    "name": "text",
    "repository": "text",
    "package": "text",
    "licence": "text",
    "architecture": "text",
    "context": "count",
    "yarn": YARN,
    "tied_embeddings": "flag",
    "checked": "flag",
    "quantisations": "texts",
    "shape": "table",
    "files": {"*": FILE},
}
CHOICE: Schema = {"model": "text", "quantisation": "text", "contexts": dict.fromkeys(KV_TYPES, "count")}
TIER: Schema = {"gpu": "flag", "memory_gib": "number", "usable_gib": "number", "choices": [CHOICE]}
CATALOGUE: Schema = {"models": {"*": MODEL}, "tiers": {"*": TIER}}

REQUIRED_OF_MODEL = ("name", "architecture", "context", "shape")
KINDS = {
    "text": "a text in quotes",
    "texts": "a list of texts",
    "count": "a whole number from 0 on",
    "number": "a number",
    "flag": "true or false",
    "table": "a table",
}


@dataclass(frozen=True, slots=True)
class Yarn:
    """How far a model's context can be stretched, and the context that the factor counts from."""

    original_context: int
    max_positions: int


@dataclass(frozen=True, slots=True)
class QuantFile:
    """A file of a model: `size_bytes` 0 and `sha256` "" where they are not known.

    `file` is the path in the repository, the first part's of a split model.
    """

    quantisation: str
    file: str
    size_bytes: int = 0
    sha256: str = ""
    revision: str = "main"

    @property
    def published(self) -> bool:
        """Tell whether the size is the published file's; otherwise it has to be computed from the shape."""
        return self.size_bytes > 0


@dataclass(frozen=True, slots=True)
class Entry:
    """A model. `files` are in order of preference; `sizes` are the GGUF keys that `shape` was read from.

    `repository` is "" for a model that comes in the Python package `package`. `checked` is false when nobody compared
    the sizes with a published file.
    """

    key: str
    name: str
    architecture: str
    context: int
    shape: ModelShape
    sizes: Mapping[str, Value]
    files: tuple[QuantFile, ...]
    repository: str = ""
    package: str = ""
    licence: str = ""
    yarn: Yarn | None = None
    tied_embeddings: bool = False
    checked: bool = True

    @property
    def max_positions(self) -> int:
        """The longest context, with YaRN where the model takes it."""
        return max(self.context, self.yarn.max_positions) if self.yarn else self.context

    def file(self, quantisation: str = "") -> QuantFile:
        """Return the file of a quantisation, the preferred one for "". Raises `ModelError`."""
        for file in self.files:
            if not quantisation or file.quantisation.casefold() == quantisation.casefold():
                return file
        raise ModelError(
            f"{self.key} is not listed as {quantisation}." if quantisation else f"No file of {self.key} is listed.",
            f"There is {', '.join(file.quantisation for file in self.files)}."
            if self.files
            else "Name the file: `cagchat models get OWNER/REPOSITORY/FILE.gguf`.",
        )


@dataclass(frozen=True, slots=True)
class Choice:
    """A model that suits a tier, and the longest context for each type of KV cache, the exactest first."""

    model: str
    quantisation: str
    contexts: Mapping[KvType, int]

    @property
    def longest(self) -> int:
        """The longest context of all types."""
        return max(self.contexts.values(), default=0)


@dataclass(frozen=True, slots=True)
class Tier:
    """A class of machines: cards, or RAM where `gpu` is false, of at least `memory_bytes`, and what suits them best."""

    name: str
    gpu: bool
    memory_bytes: int
    usable_bytes: int
    choices: tuple[Choice, ...]


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Every model by its key, in the order of the file, and every tier: the largest first, those without GPU last."""

    entries: Mapping[str, Entry]
    tiers: tuple[Tier, ...]

    def entry(self, key: str) -> Entry:
        """Return the model of this key, whatever its case. Raises `ModelError` with near ones."""
        found = self.entries.get(key.casefold())
        if found is None:
            near = nearest(key.casefold(), self.entries)
            raise ModelError(
                f"The catalogue has no model {key}.",
                f"Did you mean {near}?" if near else f"It has {', '.join(self.entries)}.",
            )
        return found

    def tier(self, memory_bytes: int, *, gpu: bool) -> Tier | None:
        """Return the largest tier that a machine reaches, None when it reaches none.

        A card reports a little less than it is sold with; that is allowed for.
        """
        reached = (t for t in self.tiers if t.gpu == gpu and memory_bytes >= REPORTED_SHARE * t.memory_bytes)
        return next(reached, None)

    def match(self, name: str, size_bytes: int, shape: ModelShape | None, title: str = "") -> tuple[str, str]:
        """Return the key and the quantisation of a file as far as they can be told, "" where they cannot.

        A file is known by its `name`, by its size where the architecture agrees, or by its shape where its `title`
        (or name) holds the model's key, with the quantisation then read from the name.
        """
        known = [(entry, file) for entry in self.entries.values() for file in entry.files]
        for entry, file in known:
            if Path(file.file).name.casefold() == name.casefold():
                return entry.key, file.quantisation
        if shape is None:
            return "", ""
        for entry, file in known:
            if file.size_bytes == size_bytes and entry.architecture == shape.architecture:
                return entry.key, file.quantisation
        words = folded(title), folded(name)
        for entry in self.entries.values():
            if same_sizes(entry.shape, shape) and any(folded(entry.key) in word for word in words):
                listed = (file.quantisation for file in entry.files)
                longest_first = sorted(listed, key=len, reverse=True)
                return entry.key, next((quant for quant in longest_first if folded(quant) in words[1]), "")
        return "", ""


def shipped_file() -> Path:
    """Return the list that comes with cagchat: beside this module where it is installed, in config/ of its source."""
    installed = Path(__file__).with_name("models.toml")
    return installed if installed.exists() else Path(__file__).parents[2] / "config" / "models.toml"


def load_catalogue(user_file: Path | None = None, shipped: Path | None = None) -> Catalogue:
    """Read the shipped list and merge the user's own file into it, key by key, when there is one.

    Raises `ConfigError` with the file and the key when something in them is unknown, missing or of a wrong kind.
    """
    shipped = shipped or shipped_file()
    merged = checked_content(shipped)
    own: Table = checked_content(user_file) if user_file else {}
    merged = deep_merge(merged, own)
    places = {
        (kind, key): user_file if user_file and key in table(own.get(kind)) else shipped
        for kind in CATALOGUE
        for key in table(merged.get(kind))
    }
    entries = {
        key.casefold(): build_entry(key.casefold(), table(content), places["models", key])
        for key, content in table(merged.get("models")).items()
    }
    tiers = [
        build_tier(name, table(content), entries, places["tiers", name])
        for name, content in table(merged.get("tiers")).items()
    ]
    return Catalogue(entries, tuple(sorted(tiers, key=lambda tier: (not tier.gpu, -tier.memory_bytes))))


def checked_content(file: Path) -> Table:
    """Return the tables of a file once every key and every kind in it was checked; {} when there is no such file."""
    content = parse_toml(read_text(file), file)
    check(content, CATALOGUE, "", file)
    return content


def check(content: Table, schema: Schema, path: str, file: Path) -> None:
    """Raise `ConfigError` for the first key below `path` that the schema does not know or that holds the wrong kind."""
    for key, value in content.items():
        place = f"{path}.{key}" if path else key
        wanted = schema.get(key, schema.get("*"))
        if wanted is None:
            near = nearest(key, schema)
            raise ConfigError(
                f'There is no key "{place}" ({file}).',
                f"Did you mean {near}?" if near else f"The keys there are {', '.join(schema)}.",
            )
        if isinstance(wanted, Mapping):
            check(checked_table(value, place, file), wanted, place, file)
        elif isinstance(wanted, list):
            for index, item in enumerate(value if isinstance(value, list) else [value]):
                check(checked_table(item, f"{place}[{index}]", file), wanted[0], f"{place}[{index}]", file)
        elif not is_kind(value, str(wanted)):
            raise wrong_kind(place, value, KINDS[str(wanted)], file)


def checked_table(value: object, place: str, file: Path) -> Table:
    """Return a value that has to be a table, or raise `ConfigError`."""
    if not isinstance(value, dict):
        raise wrong_kind(place, value, "a table", file)
    return value


def is_kind(value: object, kind: str) -> bool:
    """Tell whether a value is of a schema's kind; a whole number is a number too, and true is neither."""
    match kind:
        case "text":
            return isinstance(value, str)
        case "texts":
            return isinstance(value, list) and all(isinstance(item, str) for item in value)
        case "flag":
            return isinstance(value, bool)
        case "count":
            return isinstance(value, int) and not isinstance(value, bool) and value >= 0
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
        case _:
            return isinstance(value, dict)


def wrong_kind(place: str, value: object, wanted: str, file: Path) -> ConfigError:
    """Describe a value of the wrong kind."""
    return ConfigError(f"{place} in {file} is {value!r}, not {wanted}.", f"Change it to {wanted}, or leave it out.")


def deep_merge(base: Table, change: Table) -> Table:
    """Return `base` with every value that `change` has in its place; tables are merged, lists are replaced."""
    merged = dict(base)
    for key, value in change.items():
        before = merged.get(key)
        merged[key] = deep_merge(before, value) if isinstance(before, dict) and isinstance(value, dict) else value
    return merged


def build_entry(key: str, content: Table, file: Path) -> Entry:
    """Return a model from its merged and checked table; `file` is for the message of `ConfigError`."""
    place = f"models.{key}"
    for name in REQUIRED_OF_MODEL:
        if name not in content:
            raise ConfigError(f"{place} in {file} lacks {name}.", f"Add {name}; config/models.toml shows how.")
    sizes = flat(table(content["shape"]))
    try:
        shape = parse_shape(str(content["architecture"]), sizes, f"{place}.shape in {file}")
    except ModelError as error:
        raise ConfigError(error.message, "Give the numbers that llama.cpp prints when it loads the model.") from error
    files = build_files(content, place, file)
    yarn = table(content.get("yarn"))
    if yarn and set(yarn) != set(YARN):
        raise ConfigError(f"{place}.yarn in {file} needs {' and '.join(YARN)}.", "Give both, or leave yarn out.")
    return Entry(
        key=key,
        name=str(content["name"]),
        architecture=str(content["architecture"]),
        context=whole(content["context"]),
        shape=shape,
        sizes=sizes,
        files=files,
        repository=str(content.get("repository", "")),
        package=str(content.get("package", "")),
        licence=str(content.get("licence", "")),
        yarn=Yarn(whole(yarn["original_context"]), whole(yarn["max_positions"])) if yarn else None,
        tied_embeddings=bool(content.get("tied_embeddings", False)),
        checked=bool(content.get("checked", True)),
    )


def build_files(content: Table, place: str, file: Path) -> tuple[QuantFile, ...]:
    """Return a model's files, those that `quantisations` names first."""
    listed = {name: table(entry) for name, entry in table(content.get("files")).items()}
    order = content.get("quantisations", [])
    names = [str(name) for name in order] if isinstance(order, list) else []
    for name in names:
        if name not in listed:
            near = nearest(name, listed)
            raise ConfigError(
                f'{place}.quantisations in {file} names "{name}", and {place}.files has no such file.',
                f"Did you mean {near}?" if near else f"Add [{place}.files.{name}].",
            )
    for name, entry in listed.items():
        if not entry.get("file"):
            raise ConfigError(f"{place}.files.{name} in {file} lacks file.", "Add the file's name in the repository.")
        if entry.get("sha256") and not is_sha256(str(entry["sha256"])):
            raise ConfigError(
                f"{place}.files.{name}.sha256 in {file} is no SHA-256.", "Give its 64 hexadecimal digits."
            )
    return tuple(
        QuantFile(
            quantisation=name,
            file=str(listed[name]["file"]),
            size_bytes=whole(listed[name].get("size_bytes", 0)),
            sha256=str(listed[name].get("sha256", "")).lower(),
            revision=str(listed[name].get("revision", "main")),
        )
        for name in dict.fromkeys([*names, *listed])
    )


def build_tier(name: str, content: Table, entries: Mapping[str, Entry], file: Path) -> Tier:
    """Return a tier whose models and quantisations exist, or raise `ConfigError`."""
    place = f"tiers.{name}"
    for needed in ("memory_gib", "choices"):
        if needed not in content:
            raise ConfigError(f"{place} in {file} lacks {needed}.", f"Add {needed}; config/models.toml shows how.")
    listed = content["choices"] if isinstance(content["choices"], list) else []
    choices = [build_choice(table(choice), entries, place, file) for choice in listed]
    memory_gib = number(content["memory_gib"])
    return Tier(
        name=name,
        gpu=bool(content.get("gpu", True)),
        memory_bytes=int(memory_gib * GIB),
        usable_bytes=int(number(content.get("usable_gib", memory_gib)) * GIB),
        choices=tuple(choices),
    )


def build_choice(content: Table, entries: Mapping[str, Entry], place: str, file: Path) -> Choice:
    """Return one choice of a tier."""
    key, quantisation = str(content.get("model", "")).casefold(), str(content.get("quantisation", ""))
    if key not in entries:
        near = nearest(key, entries)
        raise ConfigError(
            f'{place} in {file} names the model "{key}", and there is none.',
            f"Did you mean {near}?" if near else f"The models are {', '.join(entries)}.",
        )
    try:
        quantisation = entries[key].file(quantisation).quantisation
    except ModelError as error:
        raise ConfigError(f"{place} in {file}: {error.message}", error.hint) from error
    contexts = table(content.get("contexts"))
    return Choice(key, quantisation, {kv: whole(contexts[kv]) for kv in KV_TYPES if kv in contexts})


def flat(content: Table, before: str = "") -> dict[str, Value]:
    """Return nested tables as a GGUF writes them, keys joined by dots; what no GGUF can hold is left out."""
    found: dict[str, Value] = {}
    for key, value in content.items():
        if isinstance(value, dict):
            found |= flat(value, f"{before}{key}.")
        elif isinstance(value, list):
            items = tuple(item for item in value if isinstance(item, int | float))
            found[before + key] = ArrayInfo(
                "i32" if all(isinstance(i, int) for i in items) else "f32", len(items), items
            )
        elif isinstance(value, bool | int | float | str):
            found[before + key] = value
    return found


def same_sizes(one: ModelShape, other: ModelShape) -> bool:
    """Tell whether two shapes make the same tensors and caches, whatever context they claim."""
    return (
        one.architecture == other.architecture
        and (one.n_vocab, one.n_embed, one.n_feed_forward) == (other.n_vocab, other.n_embed, other.n_feed_forward)
        and (one.n_heads, one.kv_heads, one.key_length) == (other.n_heads, other.kv_heads, other.key_length)
        and (one.experts, one.recurrent) == (other.experts, other.recurrent)
    )


def folded(text: str) -> str:
    """Return letters and digits only, in one case: how names are compared that everybody writes differently."""
    return "".join(letter for letter in text.casefold() if letter.isalnum())


def nearest(name: str, names: Iterable[str]) -> str:
    """Return the name that is most like `name`, one that it begins before all others; "" when none is."""
    from difflib import get_close_matches

    known = list(names)
    longer = (known_name for known_name in known if name and known_name.startswith(name))
    return next(longer, "") or next(iter(get_close_matches(name, known, n=1)), "")


def is_sha256(text: str) -> bool:
    """Tell whether a text is a SHA-256 in hexadecimal digits."""
    return len(text) == 64 and all(digit in "0123456789abcdef" for digit in text.lower())


# The kinds were checked before; these tell the type checker.


def table(value: object) -> Table:
    """Return a table, {} for one that is not there."""
    return value if isinstance(value, dict) else {}


def whole(value: object) -> int:
    """Return a whole number."""
    assert isinstance(value, int)
    return value


def number(value: object) -> float:
    """Return a number."""
    assert isinstance(value, int | float)
    return float(value)
