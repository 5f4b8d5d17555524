"""What a user can set, and where each value came from: defaults, the configuration file, the environment, flags."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cagchat.errors import ConfigError, UsageError
from cagchat.files import private_folder, write_bytes

if TYPE_CHECKING:
    # 5 ms, which `cagchat --help` need not pay.
    from cagchat.engine.protocol import KvType

    KvChoice = Literal["auto"] | KvType

Value = str | int | float | bool

Choice = Literal["auto", "always", "off"]
CHOICES: tuple[Choice, ...] = ("auto", "always", "off")

Quoting = Literal["auto", "always", "guided", "off"]
QUOTING: tuple[Quoting, ...] = ("auto", "always", "guided", "off")

FastKernels = Literal["auto", "on", "off"]

KV_CHOICES: tuple[KvChoice, ...] = ("auto", "f16", "q8_0", "q4_0")

PREFIX = "CAGCHAT_"
SHOWN_LENGTH = 60
TRUE = ("true", "yes", "on", "1")
FALSE = ("false", "no", "off", "0")
KINDS: Mapping[type, str] = {bool: "true or false", int: "a whole number", float: "a number", str: "a text in quotes"}


def about(doc: str, *, low: float = 0, high: float = 0, choices: tuple[str, ...] = ()) -> dict[str, object]:
    """Return what a field's metadata says: the sentence that explains it and the values it takes (numbers: a range)."""
    return {"doc": doc, "low": low, "high": high, "choices": choices}


@dataclass(frozen=True, slots=True)
class Settings:
    """Every setting, with its default. Names are the keys of the file; flags have dashes, variables CAGCHAT_ before."""

    model: str = field(
        default="",
        metadata=about("The model: a GGUF file, or a name of `cagchat models`; empty for the best that fits the book."),
    )
    kv_type: KvChoice = field(
        default="auto",
        metadata=about("How the KV cache is stored; q8_0 takes half the room of f16.", choices=KV_CHOICES),
    )
    chat_tokens: int = field(
        default=8192,
        metadata=about("Tokens kept free beside the book for questions and answers.", low=256, high=10_000_000),
    )
    batch: int = field(
        default=0,
        metadata=about(
            "Tokens that go through the model at once while it reads; 0 for 512, or less where memory is short. "
            "Without flash attention, as mostly on a processor, no more than 64.",
            low=0,
            high=65536,
        ),
    )
    threads: int = field(
        default=0,
        metadata=about("Processor threads, at most as many as there are cores; 0 for one less.", low=0, high=1024),
    )
    gpu_layers: int = field(
        default=-1, metadata=about("Layers of the model on the GPU; -1 for all of them.", low=-1, high=10_000)
    )
    experts_in_ram: int = field(
        default=-1,
        metadata=about(
            "Layers of a mixture of experts whose experts stay in RAM; -1 for as few as must.", low=-1, high=10_000
        ),
    )
    vram_gb: float = field(
        default=0.0, metadata=about("Gigabytes of GPU memory to use; 0 for what is free.", low=0, high=100_000)
    )
    ram_gb: float = field(
        default=0.0, metadata=about("Gigabytes of RAM to use; 0 for what is free.", low=0, high=100_000)
    )
    yarn: bool = field(
        default=True,
        metadata=about("Stretch a model's context with YaRN when a book needs more than the model was trained for."),
    )
    fast_kernels: FastKernels = field(
        default="auto",
        metadata=about(
            "Repack weights for this processor; auto leaves it off where it crashes.", choices=("auto", "on", "off")
        ),
    )
    temperature: float = field(
        default=0.3, metadata=about("How freely the next token is drawn; 0 takes the likeliest.", low=0, high=5)
    )
    top_k: int = field(
        default=40, metadata=about("Draw from this many of the likeliest tokens; 0 for all.", low=0, high=10_000_000)
    )
    top_p: float = field(
        default=0.95,
        metadata=about("Draw from the likeliest tokens that together have this probability.", low=0, high=1),
    )
    min_p: float = field(
        default=0.05, metadata=about("Drop tokens less likely than this share of the likeliest one.", low=0, high=1)
    )
    repeat_penalty: float = field(
        default=1.0, metadata=about("Makes tokens that were just used less likely; 1 is off.", low=0.1, high=10)
    )
    presence_penalty: float = field(
        default=0.0, metadata=about("Makes tokens that were used at all less likely; 0 is off.", low=-2, high=2)
    )
    seed: int = field(
        default=-1, metadata=about("Makes draws repeatable; -1 for a new seed each time.", low=-1, high=2**32 - 2)
    )
    max_tokens: int = field(default=1024, metadata=about("The longest answer, in tokens.", low=1, high=10_000_000))
    thinking: bool = field(default=False, metadata=about("Let a model that can think before it answers do so."))
    evidence: Choice = field(
        default="auto",
        metadata=about(
            "Put passages that a search finds beside each question; auto does so where a book is long enough and "
            "answers do not begin with a quote.",
            choices=CHOICES,
        ),
    )
    evidence_tokens: int = field(
        default=1000,
        metadata=about("Tokens that such passages may take together, at most half of the chat's.", low=64, high=65536),
    )
    quoting: Quoting = field(
        default="auto",
        metadata=about(
            "Ask the model to quote before it answers; guided begins its answer with a sentence of the book instead. "
            "auto asks models that are large enough, and guides others.",
            choices=QUOTING,
        ),
    )
    disk_budget_gb: float = field(
        default=50.0, metadata=about("Gigabytes that saved states may take together.", low=0, high=1_000_000)
    )
    checkpoint_share: float = field(
        default=0.03, metadata=about("Share of the reading time that checkpoints may cost; 0 for none.", low=0, high=1)
    )
    boundaries: int = field(
        default=64, metadata=about("Section snapshots kept at most for a hybrid model.", low=0, high=65536)
    )
    instructions: str = field(
        default="", metadata=about("Replaces the built-in instructions to the model; empty keeps them.")
    )


# The settings by what they are about, as the command line groups them.
ENGINE = (
    "model",
    "kv_type",
    "chat_tokens",
    "batch",
    "threads",
    "gpu_layers",
    "experts_in_ram",
    "vram_gb",
    "ram_gb",
    "yarn",
    "fast_kernels",
)
ANSWERING = (
    "temperature",
    "top_k",
    "top_p",
    "min_p",
    "repeat_penalty",
    "presence_penalty",
    "seed",
    "max_tokens",
    "thinking",
    "evidence",
    "evidence_tokens",
    "quoting",
)


@dataclass(frozen=True, slots=True)
class Rule:
    """What one setting is for and which values it takes; `kind` is its type."""

    name: str
    doc: str
    kind: type
    default: Value
    low: float
    high: float
    choices: tuple[str, ...]

    @property
    def flag(self) -> str:
        """The setting on the command line."""
        return f"--{self.name.replace('_', '-')}"

    @property
    def variable(self) -> str:
        """The setting in the environment."""
        return PREFIX + self.name.upper()

    @property
    def allowed(self) -> str:
        """The values it takes, in words."""
        if self.choices:
            return "one of " + ", ".join(self.choices)
        kind = KINDS[self.kind]
        return f"{kind} from {self.low:,} to {self.high:,}" if self.low < self.high else kind


@dataclass(frozen=True, slots=True)
class Resolved:
    """The settings in force; `origins` names for each where its value came from.

    An origin is "default", the file's path, a variable such as CAGCHAT_THREADS, or a flag such as --threads.
    """

    settings: Settings
    origins: dict[str, str]


def rules() -> dict[str, Rule]:
    """Return the rule of every setting by its name, in order."""
    defaults = Settings()
    pairs = ((f, getattr(defaults, f.name)) for f in fields(defaults))
    return {f.name: Rule(f.name, kind=type(value), default=value, **f.metadata) for f, value in pairs}


def resolve(file: Path, environ: Mapping[str, str], flags: Mapping[str, object]) -> Resolved:
    """Merge defaults, the file, the environment and flags; the later wins. Every value given is checked.

    A file that does not exist, an empty variable and a flag that is None count as not given. Variables that are no
    settings are left alone: others share the prefix. Raises `ConfigError`, and `UsageError` for the value of a flag.
    """
    known = rules()
    values: dict[str, Value] = {}
    origins = dict.fromkeys(known, "default")

    def take(name: str, value: Value, origin: str) -> None:
        values[name] = value
        origins[name] = origin

    text = read_text(file)
    for name, raw in parse_toml(text, file).items():
        place = f"{file}, line {line_of(text, name)}"
        take(name, checked(rule_of(name, known, place), raw, f"{name} in {place},"), str(file))
    for name, rule in known.items():
        if given := environ.get(rule.variable):
            take(name, from_text(rule, given, f"The variable {rule.variable}"), rule.variable)
    for name, raw in flags.items():
        rule = rule_of(name, known, "the command line")
        if raw is not None:
            try:
                value = from_text(rule, raw, rule.flag) if isinstance(raw, str) else checked(rule, raw, rule.flag)
            except ConfigError as error:  # as the parser refuses what it can tell itself: `--kv q3`
                raise UsageError(error.message, error.hint) from error
            take(name, value, rule.flag)
    return Resolved(Settings(**values), origins)  # type: ignore[arg-type]  # each value was checked by its rule


def rule_of(name: str, known: Mapping[str, Rule], place: str) -> Rule:
    """Return the rule of a setting, or raise `ConfigError` with the nearest name."""
    if name in known:
        return known[name]
    from difflib import get_close_matches

    near = get_close_matches(name.lower().replace("-", "_"), known, n=1)
    raise ConfigError(
        f'There is no setting "{name}" ({place}).',
        f"Did you mean {near[0]}?" if near else f"The settings are {', '.join(known)}.",
    )


def checked(rule: Rule, value: object, place: str) -> Value:
    """Return the value as the setting's type, or raise `ConfigError`; a whole number is a number, true is not."""
    if type(value) is rule.kind or (rule.kind is float and type(value) is int):
        if isinstance(value, bool) or (isinstance(value, str) and (not rule.choices or value in rule.choices)):
            return value
        # NaN compares with nothing, and so is out of any range.
        if isinstance(value, int | float) and rule.low <= value <= rule.high:
            return float(value) if rule.kind is float else value
    raise refused(rule, value, place)


def from_text(rule: Rule, text: str, place: str) -> Value:
    """Return the value that a variable or a command line spells, or raise `ConfigError`."""
    word = text.strip().lower()
    try:
        if rule.kind is bool:
            value: Value = (*TRUE, *FALSE).index(word) < len(TRUE)
        elif rule.kind is str:
            value = word if rule.choices else text
        else:
            value = int(word) if rule.kind is int else float(word)
    except ValueError as error:
        raise refused(rule, text, place) from error
    if rule.name != "model" and not is_utf_8(text):  # the name of a file may be any bytes, a text for the model not
        raise ConfigError(f"{place} is {cut(shown(text))}, which is not UTF-8.", rule.doc)
    return checked(rule, value, place)


def is_utf_8(text: str) -> bool:
    """Tell whether a text of the command line or the environment, which may be any bytes, is one in UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def refused(rule: Rule, value: object, place: str) -> ConfigError:
    """Describe a value that a setting does not take."""
    from difflib import get_close_matches

    near = get_close_matches(value.lower(), rule.choices, n=1) if isinstance(value, str) else []
    return ConfigError(
        f"{place} is {cut(shown(value))}, which is not {rule.allowed}.",
        f"Did you mean {near[0]}?" if near else f"{rule.doc} The default is {shown(rule.default)}.",
    )


def shown(value: object) -> str:
    """Return a value as it is written in the file."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    try:
        return str(value)
    except ValueError:  # Python spells no number of thousands of digits, which may be given in hexadecimal ones
        return "a number of thousands of digits"


def cut(text: str) -> str:
    """Return a text short enough for a sentence about it."""
    return text if len(text) <= SHOWN_LENGTH else text[:SHOWN_LENGTH] + "…"


def read_text(file: Path) -> str:
    """Return the file's text, empty when there is none; line ends stay as they are."""
    try:
        return file.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file} is not UTF-8 text (byte {error.start}).", "Save it again as UTF-8.") from error
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}.", "Make it a readable file.") from error


def parse_toml(text: str, file: Path) -> dict[str, object]:
    """Return the keys and values of the file's text, or raise `ConfigError` with the line."""
    if not text:  # mostly there is no file, and loading the parser takes 5 ms of every start
        return {}
    import tomllib

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r" \(at (?:line (\d+), column \d+|end of document)\)", str(error))
        line = (found and found[1]) or text.count("\n") + 1
        reason = str(error)[: found.start()] if found else str(error)
        raise ConfigError(
            f"{file}, line {line}, is not TOML: {reason[:1].lower()}{reason[1:]}.",
            'Each line is KEY = VALUE; a text stands in "quotes", and # begins a comment.',
        ) from error
    except (ValueError, RecursionError) as error:  # thousands of digits, or of brackets in brackets
        raise ConfigError(f"{file} holds a number or a list that is too long to be read.", "Shorten it.") from error


@dataclass(frozen=True, slots=True)
class Statement:
    """Consecutive lines of a TOML file that only make sense together, and the keys they set; `line` counts from 1."""

    line: int
    text: str
    keys: tuple[str, ...]


def statements(text: str) -> Iterator[Statement]:
    """Split the text of a valid TOML file at each line end up to which it is complete; tables at its end are one."""
    import tomllib

    # Only a line feed ends a line of TOML; str.splitlines knows others.
    lines = re.findall(r"[^\n]*\n|[^\n]+", text)
    start = 0
    for end in range(1, len(lines) + 1):
        if is_table(lines[start]):
            end = len(lines)
        part = "".join(lines[start:end])
        try:
            keys = tuple(tomllib.loads(part))
        except tomllib.TOMLDecodeError:
            continue
        yield Statement(start + 1, part, keys)
        start = end
        if end == len(lines):
            return


def is_table(line: str) -> bool:
    """Tell whether a statement that begins with this line begins a table, after which no top-level key can stand."""
    return line.lstrip().startswith("[")


def line_of(text: str, key: str) -> int:
    """Return the line on which a top-level key of a valid file is set."""
    return next(statement.line for statement in statements(text) if key in statement.keys)


def comment_after(statement: str) -> str:
    """Return the comment at the end of a statement, with the space before it; empty when there is none."""
    import tomllib

    for found in re.finditer("#", statement):
        before = statement[: found.start()]
        try:
            complete = bool(tomllib.loads(before))
        except tomllib.TOMLDecodeError:
            continue
        if complete:
            return statement[len(before.rstrip()) :].rstrip()
    return ""


def write_value(file: Path, key: str, text: str) -> Value:
    """Set one key of the file to what `text` spells and return the value; other lines and all comments stay."""
    import tomli_w

    value = from_text(rule_of(key, rules(), str(file)), text, key)
    if isinstance(value, str) and not is_utf_8(value):
        raise ConfigError(
            f"{file} cannot hold {cut(shown(value))}: TOML is UTF-8, and this is not.",
            f"Give it as {rules()[key].flag} each time, or rename the file that it is the name of.",
        )
    old = read_text(file)
    wanted = {**parse_toml(old, file), key: value}
    line_end = "\r\n" if "\r\n" in old else "\n"
    assignment = tomli_w.dumps({key: value}).strip()
    parts = list(statements(old))
    new = [part.text for part in parts]
    tables = next((i for i, part in enumerate(parts) if is_table(part.text)), len(new))
    places = [i for i, part in enumerate(parts[:tables]) if key in part.keys]
    for i in places:
        new[i] = f"{assignment}{comment_after(new[i])}{line_end}"
    if not places:
        if tables and not new[tables - 1].endswith("\n"):
            new[tables - 1] += line_end
        new.insert(tables, assignment + line_end)
    publish_text(file, "".join(new), wanted)
    return value


def unset_value(file: Path, key: str) -> bool:
    """Take one key out of the file, also one that is no setting; return whether it was there."""
    old = read_text(file)
    wanted = parse_toml(old, file)
    if key not in wanted:
        rule_of(key, rules(), str(file))
        return False
    del wanted[key]
    publish_text(file, "".join(part.text for part in statements(old) if key not in part.keys), wanted)
    return True


def publish_text(file: Path, text: str, wanted: Mapping[str, object]) -> None:
    """Write the file once its new text was read back and holds exactly the values wanted."""
    import tomllib

    try:
        right = tomllib.loads(text) == wanted
    except tomllib.TOMLDecodeError:
        right = False
    if not right:
        raise ConfigError(f"{file} could not be changed without changing other keys.", "Edit it by hand.")
    # Where a link leads to a folder of dotfiles, the link stays.
    target = file.resolve()
    private_folder(target.parent)
    write_bytes(target, text.encode())


def example() -> str:
    """Return a configuration file with every setting commented out: its sentence, its values, its default."""
    import tomli_w

    blocks = [
        "# cagchat's configuration. Each setting is shown with its default; take away the # before one to change it.\n"
        "# A variable (CAGCHAT_THREADS=4) overrides this file, and a flag (--threads 4) overrides both.\n"
    ]
    for rule in rules().values():
        default = tomli_w.dumps({rule.name: rule.default})
        blocks.append(f"# {rule.doc}\n# Takes {rule.allowed}.\n#{default}")
    return "\n".join(blocks)
