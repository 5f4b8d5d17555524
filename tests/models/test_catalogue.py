"""The list of known models: what is shipped adds up, and what a user's file may change."""

from __future__ import annotations

from pathlib import Path

import pytest

from cagchat.engine.protocol import KV_TYPES, KvType
from cagchat.errors import ConfigError, ModelError
from cagchat.models.catalogue import GIB, Catalogue, Choice, Tier, load_catalogue
from cagchat.models.shape import ModelShape
from cagchat.models.tensors import data_bytes, tensors
from cagchat.plan.choose import BATCHES
from cagchat.plan.memory import Request, memory
from cagchat.plan.planner import sold_as, tensors_of

SHIPPED = load_catalogue()
KEYS = list(SHIPPED.entries)
CONTEXT_STEP = 8192
CHOICES = [(tier, choice) for tier in SHIPPED.tiers for choice in tier.choices]

# Attention layers, KV heads, head dimension: the published table of each model.
ATTENTION = {
    "qwen3.5-35b-a3b": (10, 2, 256),
    "qwen3.6-35b-a3b": (10, 2, 256),
    "qwen3.5-27b": (16, 4, 256),
    "qwen3.5-9b": (8, 4, 256),
    "qwen3.5-2b": (6, 2, 256),
    "qwen3.5-0.8b": (6, 2, 256),
    "smollm2-135m": (30, 3, 64),
}

MINE = """
[models.mine]
name = "Mine"
repository = "me/mine"
architecture = "qwen3"
context = 4096
[models.mine.shape]
block_count = 4
embedding_length = 256
attention.head_count = 4
[models.mine.files.Q4_0]
file = "mine.gguf"
"""


def loaded(tmp_path: Path, text: str) -> Catalogue:
    return load_catalogue(written(tmp_path, text))


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "models.toml"
    path.write_text(text, encoding="utf-8")
    return path


def refusal(tmp_path: Path, text: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, text)
    assert str(tmp_path / "models.toml") in caught.value.message
    assert caught.value.hint
    return caught.value


def recurrent_bytes(shape: ModelShape) -> int:
    """One sequence's recurrent states, as llama.cpp allocates them in f32."""
    r = shape.recurrent
    if r is None:
        return 0
    convolution = (r.conv_kernel - 1) * (r.inner_size + 2 * r.key_heads * r.state_size)
    return shape.recurrent_layers * (convolution + r.inner_size * r.state_size) * 4


def takes(choice: Choice, tier: Tier, kv_type: KvType, context: int) -> int:
    """What a plan counts for a choice with batches of 64: on the card, or in RAM where there is none."""
    entry = SHIPPED.entries[choice.model]
    asked = Request(
        shape=entry.shape,
        tensors=tensors_of(entry, entry.file(choice.quantisation)),
        n_context=context,
        n_ubatch=BATCHES[-1],
        kv_type=kv_type,
        backend="cuda" if tier.gpu else "cpu",
    )
    taken = memory(asked)
    return taken.device_bytes if tier.gpu else taken.host_bytes


@pytest.mark.parametrize("key", list(ATTENTION))
def test_attention_is_the_published_one(key: str) -> None:
    """Attention layers, KV heads and head dimension of a shape are those that were published."""
    shape = SHIPPED.entries[key].shape
    assert (shape.attention_layers, max(shape.kv_heads), shape.key_length) == ATTENTION[key]


@pytest.mark.parametrize(
    ("key", "mib"), [("qwen3.5-35b-a3b", 62.8), ("qwen3.5-27b", 149.6), ("qwen3.5-9b", 50.2), ("smollm2-135m", 0)]
)
def test_recurrent_states_have_the_published_size(key: str, mib: float) -> None:
    """The recurrent states of a sequence take what was published for the model."""
    assert recurrent_bytes(SHIPPED.entries[key].shape) / 2**20 == pytest.approx(mib, abs=0.1)


@pytest.mark.parametrize(
    "key", [key for key in KEYS if any(f.quantisation == "Q8_0" for f in SHIPPED.entries[key].files)]
)
def test_shape_makes_the_published_file(key: str) -> None:
    """The tensors of a shape are the published Q8_0 file but for a header of 11 MB, vocabulary and merges."""
    entry = SHIPPED.entries[key]
    computed = data_bytes(tensors(entry.shape, "Q8_0", tied=entry.tied_embeddings))
    assert 10_950_000 < entry.file("Q8_0").size_bytes - computed < 11_000_000


@pytest.mark.parametrize("key", KEYS)
def test_every_entry_can_be_fetched(key: str) -> None:
    """Each model has a licence, a source, files in a known order, and a trained context that its shape agrees with."""
    entry = SHIPPED.entries[key]
    assert entry.licence
    assert bool(entry.repository) != bool(entry.package)
    assert entry.files
    assert entry.context == entry.shape.n_context_trained <= entry.max_positions
    assert entry.shape.exact


@pytest.mark.parametrize(
    ("tier", "choice"), CHOICES, ids=lambda item: getattr(item, "name", getattr(item, "model", ""))
)
def test_contexts_are_the_longest_that_fit(tier: Tier, choice: Choice) -> None:
    """Every context of a tier fits by the plan's sum, and a step longer does not or is more than the model reaches."""
    longest = SHIPPED.entries[choice.model].max_positions
    for kv_type, context in choice.contexts.items():
        assert context <= longest
        assert takes(choice, tier, kv_type, context) <= tier.usable_bytes
        longer = min(context + CONTEXT_STEP, longest)
        assert context == longest or takes(choice, tier, kv_type, longer) > tier.usable_bytes


@pytest.mark.parametrize(
    ("tier", "choice"), CHOICES, ids=lambda item: getattr(item, "name", getattr(item, "model", ""))
)
def test_contexts_are_listed_by_type(tier: Tier, choice: Choice) -> None:
    """Each coarser type holds more than the one before it; those that hold no more are left out."""
    assert list(choice.contexts) == list(KV_TYPES[: len(choice.contexts)])
    contexts = list(choice.contexts.values())
    assert contexts == sorted(set(contexts))


@pytest.mark.parametrize("tier", SHIPPED.tiers, ids=lambda tier: tier.name)
def test_a_tier_leaves_room(tier: Tier) -> None:
    """Of a card what it reports at least is used, of a machine without one less than all of its RAM."""
    if tier.gpu:
        assert tier.usable_bytes == pytest.approx(sold_as(tier.memory_bytes / GIB), abs=1)
    else:
        assert tier.usable_bytes < tier.memory_bytes or tier.memory_bytes == 0


def test_flagship_is_first_on_a_large_card() -> None:
    """A card of 24 GB gets the flagship, at Q3_K_M, with room for War and Peace and a chat."""
    tier = SHIPPED.tier(24 * GIB, gpu=True)
    assert tier is not None
    first = tier.choices[0]
    assert (first.model, first.quantisation) == ("qwen3.5-35b-a3b", "Q3_K_M")
    assert first.longest >= 769_558 + 8192


@pytest.mark.parametrize(
    ("gib", "gpu", "name"),
    [
        (80, True, "24 GB"),
        (23.6, True, "24 GB"),
        (22.0, True, "16 GB"),
        (11.8, True, "12 GB"),
        (3.9, True, "4 GB"),
        (2.0, True, None),
        (62.0, False, "CPU, 32 GB"),
        (15.5, False, "CPU, 16 GB"),
        (1.0, False, "CPU"),
    ],
)
def test_tier_of_a_machine(gib: float, gpu: bool, name: str | None) -> None:
    """A machine belongs to the largest tier that it reaches; what a card holds back counts as there."""
    tier = SHIPPED.tier(int(gib * GIB), gpu=gpu)
    assert (tier.name if tier else None) == name


def test_last_resort_is_the_embedded_model() -> None:
    """The smallest tier ends with the model that comes in a package."""
    tier = SHIPPED.tier(0, gpu=False)
    assert tier is not None
    assert SHIPPED.entry(tier.choices[-1].model).package


def test_first_file_is_the_default() -> None:
    """Without a quantisation the preferred file is meant; with one, its file, whatever the case."""
    entry = SHIPPED.entry("Qwen3.5-9B")
    assert entry.file().quantisation == "Q4_K_M"
    assert entry.file("q8_0").file == "Qwen3.5-9B-Q8_0.gguf"
    assert entry.file().published


def test_unknown_quantisation_lists_those_there_are() -> None:
    """A quantisation that is not listed is refused with those that are."""
    with pytest.raises(ModelError, match="not listed as Q9_9") as caught:
        SHIPPED.entry("qwen3.5-9b").file("Q9_9")
    assert "Q4_K_M" in caught.value.hint


def test_unknown_model_hints_at_the_nearest() -> None:
    """A mistyped key is answered with the nearest."""
    with pytest.raises(ModelError, match=r"no model qwen3\.5-35b") as caught:
        SHIPPED.entry("qwen3.5-35b")
    assert caught.value.hint == "Did you mean qwen3.5-35b-a3b?"


# -- matching files ----------------------------------------------------------------------------------------------------


def test_file_is_known_by_its_name() -> None:
    """The published name is enough, in any case."""
    assert SHIPPED.match("qwen3.5-9b-q8_0.GGUF", 1, None) == ("qwen3.5-9b", "Q8_0")


def test_blob_is_known_by_its_size() -> None:
    """A file without a name is known by its size, when the architecture agrees."""
    entry = SHIPPED.entries["qwen3.5-9b"]
    size = entry.file("Q6_K").size_bytes
    assert SHIPPED.match("sha256-00", size, entry.shape) == ("qwen3.5-9b", "Q6_K")
    assert SHIPPED.match("sha256-00", size, SHIPPED.entries["smollm2-135m"].shape) == ("", "")


def test_other_conversions_are_known_by_shape_and_title() -> None:
    """A file of the right shape whose title holds the key is that model; twins in shape are told apart by it."""
    shape = SHIPPED.entries["qwen3.6-35b-a3b"].shape
    assert SHIPPED.match("x.gguf", 7, shape, "Qwen3.6 35B A3B") == ("qwen3.6-35b-a3b", "")
    assert SHIPPED.match("Qwen_Qwen3.5-35B-A3B-Q3_K_S.gguf", 7, shape, "") == ("qwen3.5-35b-a3b", "Q3_K_S")
    assert SHIPPED.match("x.gguf", 7, shape, "Something else") == ("", "")


# -- the user's file ---------------------------------------------------------------------------------------------------


def test_no_file_of_ones_own_changes_nothing(tmp_path: Path) -> None:
    """A user without a file has the shipped list."""
    assert load_catalogue(tmp_path / "none.toml") == SHIPPED


def test_new_model_is_added(tmp_path: Path) -> None:
    """A key that is not shipped becomes a model; what it leaves out is empty."""
    entry = loaded(tmp_path, MINE).entry("mine")
    assert (entry.name, entry.repository, entry.licence, entry.yarn) == ("Mine", "me/mine", "", None)
    assert entry.file() == entry.file("q4_0")
    assert not entry.file().published
    assert entry.shape.key_length == 64


def test_known_model_is_changed_key_by_key(tmp_path: Path) -> None:
    """What a user's table names is replaced, inside tables too; the rest stays as shipped."""
    changed = loaded(tmp_path, '[models."qwen3.5-9b"]\nlicence = "Mine"\nfiles.Q6_K.size_bytes = 5').entry("qwen3.5-9b")
    shipped = SHIPPED.entries["qwen3.5-9b"]
    assert changed.licence == "Mine"
    assert changed.file("Q6_K").size_bytes == 5
    assert changed.file("Q6_K").file == shipped.file("Q6_K").file
    assert changed.shape == shipped.shape


def test_tier_is_changed(tmp_path: Path) -> None:
    """A user's tier stands in for the shipped one of its name, and a new one is sorted in."""
    choice = '{ model = "qwen3.5-9b", contexts = { q8_0 = 1000 } }'
    text = f'[tiers."8 GB"]\nchoices = [{choice}]\n[tiers.big]\nmemory_gib = 80\nchoices = [{choice}]'
    catalogue = loaded(tmp_path, text)
    assert [tier.name for tier in catalogue.tiers][:2] == ["big", "24 GB"]
    eight = catalogue.tier(8 * GIB, gpu=True)
    assert eight is not None
    assert eight.choices == (Choice("qwen3.5-9b", "Q4_K_M", {"q8_0": 1000}),)


@pytest.mark.parametrize(
    ("text", "place", "hint"),
    [
        ("[model.x]", '"model"', "Did you mean models?"),
        ('[models."qwen3.5-9b"]\nlicense = "x"', "models.qwen3.5-9b.license", "Did you mean licence?"),
        ('[models."qwen3.5-9b".files.Q8_0]\nsize = 1', "files.Q8_0.size", "Did you mean size_bytes?"),
        ('[models."qwen3.5-9b".yarn]\nmax_position = 1', "yarn.max_position", "Did you mean max_positions?"),
        ('[tiers."8 GB"]\nchoices = [{ contexts = { q8 = 1 } }]', "choices[0].contexts.q8", "Did you mean q8_0?"),
    ],
)
def test_unknown_key_names_the_nearest(tmp_path: Path, text: str, place: str, hint: str) -> None:
    """A key that means nothing is refused with its place and the nearest valid one."""
    error = refusal(tmp_path, text)
    assert place in error.message
    assert error.hint == hint


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[models."qwen3.5-9b"]\ncontext = "long"', "models.qwen3.5-9b.context"),
        ('[models."qwen3.5-9b"]\ncontext = -1', "is -1, not a whole number"),
        ('[models."qwen3.5-9b"]\ncontext = true', "is True, not a whole number"),
        ('[models."qwen3.5-9b"]\nyarn = 4', "yarn"),
        ('[models."qwen3.5-9b"]\nquantisations = ["Q8_0", 4]', "not a list of texts"),
        ('[models."qwen3.5-9b"]\nshape = 3', "not a table"),
        ('models = "all"', "models"),
        ("[tiers.x]\nmemory_gib = inf\nchoices = []", "memory_gib"),
        ("[tiers.x]\nmemory_gib = 1\nchoices = [3]", "choices[0]"),
        ('[tiers.x]\nmemory_gib = 1\nchoices = "all"', "choices[0]"),
    ],
)
def test_wrong_kind_is_refused(tmp_path: Path, text: str, message: str) -> None:
    """A value of another kind is refused with its place and what it should be."""
    assert message in refusal(tmp_path, text).message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[models.x]\nname = "X"', "models.x"),
        (MINE.replace("block_count = 4", ""), "qwen3.block_count"),
        (MINE.replace('file = "mine.gguf"', "size_bytes = 1"), "lacks file"),
        (MINE + 'sha256 = "abc"', "no SHA-256"),
        ('[models."qwen3.5-9b"]\nquantisations = ["Q8"]', '"Q8"'),
        (MINE.replace("context =", "yarn = { max_positions = 5 }\ncontext ="), "original_context"),
        ("[tiers.x]\nchoices = []", "lacks memory_gib"),
        ('[tiers.x]\nmemory_gib = 1\nchoices = [{ model = "qwen3.5-9c" }]', "qwen3.5-9c"),
        ('[tiers.x]\nmemory_gib = 1\nchoices = [{ model = "qwen3.5-9b", quantisation = "Q1" }]', "Q1"),
        ("[models", "line 1"),
    ],
)
def test_incomplete_or_contradictory_is_refused(tmp_path: Path, text: str, message: str) -> None:
    """What lacks a part, or names what is not there, is refused with its place."""
    assert message in refusal(tmp_path, text).message
