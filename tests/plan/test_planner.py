"""What a plan is made of: the machine as it may be used, the models in their order, and the minutes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from cagchat.bench.synth import NO_TEMPLATE, write_model
from cagchat.errors import ModelError
from cagchat.hardware.detect import Hardware
from cagchat.hardware.gpu import Gpu, NoGpu
from cagchat.hardware.memory import Ram
from cagchat.locations import Locations
from cagchat.models.catalogue import GIB, load_catalogue
from cagchat.models.facts import facts
from cagchat.models.places import Place
from cagchat.plan.card import Card, card_of
from cagchat.plan.choose import Machine, Option, Plan, choose, wish_of
from cagchat.plan.planner import (
    FREE_SHARE,
    Planner,
    card_in,
    cards_of,
    is_reduced,
    known_free_bytes,
    ordered,
    preference,
    tensors_of,
)
from cagchat.plan.rates import Rate
from cagchat.plan.run import Run
from cagchat.settings import Settings
from tests.engine_cases import model_path, smollm2
from tests.plan.cards import SMALL, card, cpu
from tests.reading_cases import locations

CATALOGUE = load_catalogue()
RAM = Ram(32 * GIB, 20 * GIB)
CARD = Gpu("Test GPU", 24 * GIB, 22 * GIB)
NONE = Hardware((), NoGpu("There is none."), RAM, "Test processor", 4)
ONE = replace(NONE, gpus=(CARD,), no_gpu=None)


class Detecting:
    """Says what the hardware is, and counts how often it was asked."""

    def __init__(self, found: Hardware) -> None:
        self.found, self.asked = found, 0

    def __call__(self) -> Hardware:
        self.asked += 1
        return self.found


def planner_at(
    home: Path, hardware: Hardware = NONE, *, offload: bool = True, disk: int = 0, folders: Sequence[Path] = ()
) -> Planner:
    """A planner on a machine of the test's own, whose models lie in these folders."""
    return Planner(
        locations(home),
        hardware=Detecting(hardware),
        can_offload=lambda: offload,
        read_ram=lambda: hardware.ram,
        disk_free=lambda _: disk,
        places=lambda: [Place("here", folder) for folder in folders],
    )


def machine_of(
    tmp_path: Path, hardware: Hardware, settings: Settings | None = None, *, offload: bool = True
) -> Machine:
    return planner_at(tmp_path, hardware, offload=offload, disk=77).machine(settings or Settings())


def listed(*names: tuple[str, str]) -> list[Card]:
    """Cards of the catalogue, by model and quantisation."""
    found = {(one.model, one.quantisation): one for entry in CATALOGUE.entries.values() for one in cards_of(entry)}
    return [found[name] for name in names]


# -- the machine -------------------------------------------------------------------------------------------------------


def test_machine_without_a_gpu(tmp_path: Path) -> None:
    """Most of the RAM that is free may be used, all of the disk; the tier is by all the RAM.

    A llama.cpp that can offload may find a GPU all the same that the drivers asked here do not know.
    """
    expected = Machine(0, int(20 * GIB * FREE_SHARE), 77, size_bytes=32 * GIB, unseen_gpu=True)
    assert machine_of(tmp_path, NONE) == expected
    assert machine_of(tmp_path, NONE, Settings(gpu_layers=0)) == replace(expected, unseen_gpu=False)


def test_machine_with_a_gpu(tmp_path: Path) -> None:
    """What is free of the GPU's memory may be used, beside the RAM; the tier is by all of the GPU's."""
    expected = Machine(22 * GIB, int(20 * GIB * FREE_SHARE), 77, "cuda", 1, 24 * GIB)
    assert machine_of(tmp_path, ONE) == expected


def test_several_gpus_are_counted_together(tmp_path: Path) -> None:
    """Layers are shared between all GPUs."""
    machine = machine_of(tmp_path, replace(ONE, gpus=(CARD, replace(CARD, free_bytes=10 * GIB))))
    assert (machine.device_bytes, machine.size_bytes, machine.n_devices) == (32 * GIB, 48 * GIB, 2)


def test_unified_memory_is_said(tmp_path: Path) -> None:
    """A chip's GPU takes of the RAM: the machine knows both numbers and that they are one."""
    chip = Gpu("Apple M2", 16 * GIB, 12 * GIB, backend="metal", unified=True)
    machine = machine_of(tmp_path, replace(ONE, gpus=(chip,)))
    assert machine.unified
    assert (machine.device_bytes, machine.host_bytes) == (12 * GIB, int(20 * GIB * FREE_SHARE))


@pytest.mark.parametrize(
    ("settings", "offload"),
    [(Settings(), False), (Settings(gpu_layers=0), True)],
    ids=["a build for the processor", "no layers wanted"],
)
def test_gpu_that_is_not_used_is_not_planned_for(tmp_path: Path, settings: Settings, offload: bool) -> None:
    """On a machine with a GPU that llama.cpp cannot or shall not use, the plan is for the processor."""
    machine = machine_of(tmp_path, ONE, settings, offload=offload)
    assert (machine.device_bytes, machine.backend) == (0, "cpu")
    assert machine.host_bytes == int(20 * GIB * FREE_SHARE)


def test_settings_bound_the_memory(tmp_path: Path) -> None:
    """Gigabytes in the settings are what is used, but no more of a GPU than is free."""
    machine = machine_of(tmp_path, ONE, Settings(vram_gb=8, ram_gb=4))
    assert (machine.device_bytes, machine.host_bytes, machine.size_bytes) == (8 * GIB, 4 * GIB, 8 * GIB)
    machine = machine_of(tmp_path, ONE, Settings(vram_gb=80))
    assert (machine.device_bytes, machine.size_bytes) == (22 * GIB, 24 * GIB)
    assert machine_of(tmp_path, NONE, Settings(ram_gb=64)).host_bytes == 64 * GIB


def test_processor_build_looks_for_no_hardware(tmp_path: Path) -> None:
    """Without a backend for GPUs no driver is woken: reopening a book stays fast."""
    detecting = Detecting(ONE)
    planner = Planner(locations(tmp_path), hardware=detecting, can_offload=lambda: False, read_ram=lambda: RAM)
    planner.machine(Settings())
    assert detecting.asked == 0


def test_hardware_is_looked_at_once(tmp_path: Path) -> None:
    """However many plans are made, the driver is asked once."""
    detecting = Detecting(ONE)
    planner = Planner(locations(tmp_path), hardware=detecting, can_offload=lambda: True, disk_free=lambda _: 0)
    for _ in range(3):
        planner.machine(Settings())
    assert planner.device() == "Test GPU"
    assert planner.device(gpu=False) == "Test processor"
    assert detecting.asked == 1


def test_free_disk_of_a_folder_that_is_not_there(tmp_path: Path) -> None:
    """The disk that a folder will be on is asked; a full one is known to be full."""
    assert known_free_bytes(tmp_path / "a" / "b") > 1


def test_full_disk_is_known_to_be_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No byte left is not the same as nothing known."""
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=0))
    assert known_free_bytes(tmp_path) == 1


def test_unknown_disk_is_not_guessed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system does not say, nothing is known."""

    def refuse(_: Path) -> None:
        raise OSError

    monkeypatch.setattr("shutil.disk_usage", refuse)
    assert known_free_bytes(tmp_path) == 0


# -- the order of models -----------------------------------------------------------------------------------------------


def test_choices_of_the_tier_come_first() -> None:
    """A tier's own choices are preferred in their order, then those of lower tiers, then the rest."""
    eight = CATALOGUE.tier(8 * GIB, gpu=True)
    order = preference(CATALOGUE, eight)
    assert order[:4] == ["qwen3.5-9b", "qwen3.5-4b", "qwen3.5-2b", "qwen3.5-0.8b"]
    assert sorted(order) == sorted(CATALOGUE.entries)


def test_larger_files_of_a_model_come_first() -> None:
    """Of one model the quantisations stand together, the largest first."""
    cards = ordered([one for key in ("qwen3.5-9b", "qwen3.5-4b") for one in entry_cards(key)], CATALOGUE, None)
    assert [one.model for one in cards] == ["qwen3.5-9b"] * 4 + ["qwen3.5-4b"] * 3
    sizes = [one.size_bytes for one in cards if one.model == "qwen3.5-9b"]
    assert sizes == sorted(sizes, reverse=True)


def entry_cards(key: str) -> list[Card]:
    return cards_of(CATALOGUE.entry(key))


def test_unranked_model_stands_by_its_parameters() -> None:
    """A model that nobody has ranked comes before the first ranked one with fewer parameters, never inside a model."""
    strange = replace(listed(("qwen3.5-4b", "Q8_0"))[0], model="strange")
    tiny = card(model="tiny")
    nine, two = entry_cards("qwen3.5-9b"), entry_cards("qwen3.5-2b")
    found = [one.model for one in ordered([tiny, *two, strange, *nine], CATALOGUE, None)]
    assert found == ["qwen3.5-9b"] * 4 + ["strange"] + ["qwen3.5-2b"] * 2 + ["tiny"]


def test_models_without_a_chat_template_come_last() -> None:
    """A file that was not taught to answer comes after all that were; of files that are not here that is not known."""
    mute = replace(listed(("qwen3.5-9b", "Q8_0"))[0], path=Path("mute.gguf"))
    talking = card(path=Path("talking.gguf"), chat_template="t")
    absent = listed(("qwen3.5-2b", "Q8_0"))[0]
    assert ordered([mute, talking, absent], CATALOGUE, None) == (absent, talking, mute)


def test_only_smaller_quantisations_are_reduced() -> None:
    """What is smaller than the preferred file of a model is a compromise; what is larger or unlisted is none."""
    entry = CATALOGUE.entry("qwen3.5-9b")
    assert [is_reduced(entry, name) for name in ("Q3_K_M", "Q4_K_M", "Q8_0", "Q9")] == [True, False, False, False]


def test_tensors_have_the_published_size() -> None:
    """What a plan counts as a file's weights is what the file weighs."""
    for key in CATALOGUE.entries:
        entry = CATALOGUE.entry(key)
        for file in entry.files:
            total = sum(tensor.size_bytes for tensor in tensors_of(entry, file))
            assert total == pytest.approx(file.size_bytes, rel=0.025), file.file


# -- the models that are here ------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory, models: Path) -> Path:
    """Models as other programs keep them: one that answers, a larger one that does not, and damaged ones."""
    found = tmp_path_factory.mktemp("here")
    (found / "answers.gguf").write_bytes(model_path("qwen3", models).read_bytes())
    write_model(found / "mute.gguf", "qwen3", layers=10, template=NO_TEMPLATE)
    (found / "cut.gguf").write_bytes(model_path("qwen3", models).read_bytes()[:5000])
    (found / "empty.gguf").touch()
    return found


def test_models_of_other_programs_are_found(tmp_path: Path, folder: Path) -> None:
    """Every sound model in every place is planned with, damaged ones are passed over, those without template last."""
    cards = planner_at(tmp_path, folders=[folder]).here(Settings())
    assert [one.label for one in cards] == ["answers", "mute"]
    assert cards[0].path == folder / "answers.gguf"


def test_model_whose_sizes_are_absurd_is_passed_over(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A header that parses but describes no model does not stand in the way of the others."""

    def describe(path: Path, label: str = "") -> Card:
        if path.stem == "mute":
            raise ModelError("Absurd.", "Fetch it again.")
        return card_of(path, label)

    monkeypatch.setattr("cagchat.plan.planner.card_of", describe)
    assert [one.label for one in planner_at(tmp_path, folders=[folder]).here(Settings())] == ["answers"]


def test_named_model_is_the_only_one(tmp_path: Path, folder: Path) -> None:
    """A model that the settings or the caller name is planned with alone."""
    planner = planner_at(tmp_path, folders=[folder])
    named = folder / "mute.gguf"
    assert [one.path for one in planner.here(Settings(model=str(named)))] == [named]
    assert [one.path for one in planner.here(Settings(), named)] == [named]


@pytest.mark.parametrize("name", ["none.gguf", "cut.gguf"])
def test_named_model_that_cannot_be_used_is_refused(tmp_path: Path, folder: Path, name: str) -> None:
    """A named model that is missing or damaged is an error, whatever else is here."""
    with pytest.raises(ModelError) as caught:
        planner_at(tmp_path, folders=[folder]).here(Settings(model=str(folder / name)))
    assert caught.value.hint


def test_model_is_known_to_the_catalogue() -> None:
    """A card of a listed model has its key, its quantisation and how far it reaches."""
    found = card_in(smollm2(), CATALOGUE)
    assert (found.model, found.quantisation, found.longest) == ("smollm2-135m", "Q4_1", 8192)


def test_packaged_model_is_the_last_resort(tmp_path: Path) -> None:
    """Where nothing else is, the model that a package ships is used."""
    (found,) = planner_at(tmp_path).here(Settings())
    assert found.path == smollm2()


def test_damaged_model_alone_is_named(tmp_path: Path) -> None:
    """Where the only model in the folder is damaged, the error says so."""
    folder = locations(tmp_path).models
    folder.mkdir(parents=True)
    (folder / "cut.gguf").write_bytes(smollm2().read_bytes()[:9000])
    with pytest.raises(ModelError, match=r"cut\.gguf"):
        planner_at(tmp_path, folders=[folder]).here(Settings())


def test_users_catalogue_is_used(tmp_path: Path, models: Path) -> None:
    """A model that the user lists is known by its key, and named by it."""
    own = locations(tmp_path).catalogue_file
    own.parent.mkdir(parents=True)
    size = model_path("qwen3", models).stat().st_size
    own.write_text(
        '[models.mine]\nname = "Mine"\nrepository = "me/mine"\narchitecture = "qwen3"\ncontext = 4096\n'
        "[models.mine.shape]\nblock_count = 8\nembedding_length = 256\nattention.head_count = 4\n"
        f'[models.mine.files.F32]\nfile = "qwen3.gguf"\nsize_bytes = {size}\n'
    )
    (found,) = planner_at(tmp_path, folders=[models]).here(Settings(), models / "qwen3.gguf")
    assert (found.model, found.quantisation) == ("mine", "F32")


def test_everything_lists_what_is_here_once(tmp_path: Path) -> None:
    """The models that are here stand among those of the catalogue, in place of their entries."""
    planner = planner_at(tmp_path)
    here = planner.here(Settings())
    cards = planner.everything(here, None)
    assert len(cards) == sum(len(cards_of(entry)) for entry in CATALOGUE.entries.values())
    assert [one for one in cards if one.path] == list(here)


# -- a better model ----------------------------------------------------------------------------------------------------


def better(tmp_path: Path, cards: list[Card], machine: Machine, settings: Settings | None = None) -> str:
    settings = settings or Settings()
    plan = choose(cards, lambda _: 20_000, wish_of(settings), machine)
    return planner_at(tmp_path).better(plan, settings)


def test_better_model_that_fits_is_named(tmp_path: Path) -> None:
    """Where a model of the tier that is not here would answer better, the command that gets it is said."""
    sentence = better(tmp_path, [card_in(smollm2(), CATALOGUE)], cpu(64 * GIB))
    assert "would hold this book on this machine" in sentence
    assert "`cagchat models get qwen3.5-35b-a3b --quant " in sentence
    roomy = replace(card_in(smollm2(), CATALOGUE), longest=40_000)
    assert "would answer better on this machine" in better(tmp_path, [roomy], cpu(64 * GIB))


def test_best_model_is_not_bettered(tmp_path: Path) -> None:
    """With the tier's first choice at hand nothing is said, and neither is it of a larger model nobody ranked."""
    (best,) = listed(("qwen3.5-35b-a3b", "Q3_K_M"))
    here = replace(best, path=Path("best.gguf"), chat_template="t")
    assert better(tmp_path, [here], cpu(64 * GIB)) == ""
    (large,) = listed(("qwen3.5-27b", "Q4_K_M"))
    unranked = replace(large, model="large", path=Path("large.gguf"), chat_template="t")
    assert better(tmp_path, [unranked], cpu(64 * GIB)) == ""


def test_named_model_is_not_questioned(tmp_path: Path) -> None:
    """Who names a model wants that one."""
    assert better(tmp_path, [card_in(smollm2(), CATALOGUE)], cpu(64 * GIB), Settings(model="smollm2-135m")) == ""


def test_nothing_better_fits(tmp_path: Path) -> None:
    """On a machine for which no tier has anything larger that fits, nothing is said."""
    assert better(tmp_path, [card_in(smollm2(), CATALOGUE)], cpu(GIB // 4)) == ""


def test_machine_below_every_tier_is_helped(tmp_path: Path) -> None:
    """A card that is smaller than any tier is told of what it holds all the same."""
    machine = Machine(int(2.8 * GIB), 0, backend="cuda", size_bytes=3 * GIB)
    assert "would hold this book" in better(tmp_path, [card_in(smollm2(), CATALOGUE)], machine)


# -- minutes -----------------------------------------------------------------------------------------------------------


def run_of(models: Path, home: Locations) -> Run:
    return Run(facts(model_path("qwen3", models), home.cache / "models.json"), "f16")


def test_measured_rates_come_first(tmp_path: Path, models: Path) -> None:
    """What was observed here is what is estimated, and what a plan says of a file that is remembered."""
    planner, run = planner_at(tmp_path), run_of(models, locations(tmp_path))
    option = option_with(replace(card(), path=run.model.path))
    run = replace(run, batch=option.way.batch, flash_attention=option.way.flash_attention)
    assert planner.estimate(run, 0, 1000) is None
    planner.observe(run, [Rate(5000, 10_000, 20.0)])
    found = planner.estimate(run, 0, 1000)
    assert found is not None
    assert found.seconds == pytest.approx(2)
    assert found.source == "measured here"
    assert [e.source for e in planner.minutes(option, cpu(), here=True)] == ["measured here"]
    assert planner.minutes(option, cpu(), here=False) == ()


def option_with(one: Card, machine: Machine | None = None) -> Option:
    plan: Plan = choose([one], lambda _: 3000, wish_of(Settings(kv_type="f16")), machine or cpu())
    assert plan.chosen is not None
    return plan.chosen


def test_changed_file_has_no_measured_rate(tmp_path: Path, models: Path) -> None:
    """A file that is no longer the one that was measured is not estimated by it."""
    path = tmp_path / "qwen3.gguf"
    path.write_bytes(model_path("qwen3", models).read_bytes())
    planner, option = planner_at(tmp_path), option_with(replace(card(), path=path))
    run = Run(facts(path, tmp_path / "cache" / "models.json"), "f16")
    run = replace(run, batch=option.way.batch, flash_attention=option.way.flash_attention)
    planner.observe(run, [Rate(5000, 10_000, 20.0)])
    assert len(planner.minutes(option, cpu(), here=True)) == 1
    path.write_bytes(path.read_bytes() + b"x")
    assert planner.minutes(option, cpu(), here=True) == ()


def test_published_rates_are_of_the_gpu_that_is_here(tmp_path: Path, models: Path) -> None:
    """An estimate takes only figures of the same GPU, and none where the processor computes or experts lie in RAM."""
    flagship = replace(run_of(models, locations(tmp_path)).model, name="Qwen3.5-35B-A3B", tensor_digest="new")
    run = Run(flagship, "q4_0")
    on_l4 = planner_at(tmp_path, replace(ONE, gpus=(replace(CARD, name="NVIDIA L4"),)))
    found = on_l4.estimate(run, 0, 100_000)
    assert found is not None
    assert found.source == "published for an L4"
    assert on_l4.estimate(replace(run, experts_in_ram=3), 0, 1000) is None
    assert on_l4.estimate(replace(run, gpu_layers=0), 0, 1000) is None
    assert planner_at(tmp_path, ONE).estimate(run, 0, 1000) is None
    assert planner_at(tmp_path, NONE).estimate(run, 0, 1000) is None


def test_imagined_gpus_have_every_published_rate(tmp_path: Path) -> None:
    """A plan for a card says what was published for any; a plan for a processor says nothing of GPUs."""
    (flagship,) = listed(("qwen3.5-35b-a3b", "Q3_K_M"))
    machine = Machine(24 * GIB, 0, backend="cuda", size_bytes=24 * GIB)
    planner = planner_at(tmp_path)
    assert len(planner.minutes(option_with(flagship, machine), machine, here=False)) == 3
    assert planner.minutes(option_with(flagship), cpu(), here=False) == ()
    assert planner.minutes(option_with(card(shape=SMALL), machine), machine, here=False) == ()
