"""Laws of a found thing: its own sentence gives it again, another takes it over by half, and a file keeps it."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load, save
from torch.nn.functional import cosine_similarity

from services.diffusion.density.fit import fit_density
from services.diffusion.density.subject import Subject
from services.diffusion.found import Found
from services.diffusion.generate import generate, replay
from services.diffusion.replay import GenerationConfig
from services.diffusion.run import Run
from services.diffusion.steering.spaces import Space
from services.errors import CheckpointError, ReplayError
from services.found import FACTS
from services.texts.concepts import DEFAULT_PROMPT

SUBJECT = Subject("handbag", DEFAULT_PROMPT)
ON_THE_BEACH = "a {} on the beach"
SPACES = [("lora",), ("token",), ("adjective",), ("token", "lora")]


def silent(*_):
    """A report that goes nowhere."""


@pytest.fixture(scope="module")
def beach(model):
    return fit_density(model, Subject("handbag", ON_THE_BEACH), samples=500, seed=0, report=silent)


def made(model, density, checker, subject=SUBJECT, found=None, **own):
    config = GenerationConfig(**{"target_bits": 6.6, "steps": 8, "trials": 3, "seed": 5, "decoder_steps": 1} | own)
    return generate(Run(model, density, checker, subject, config, found=found), silent)


@pytest.fixture(scope="module")
def things(model, density, checker):
    return {space: made(model, density, checker, space=space).outputs[0].found for space in SPACES}


@pytest.fixture(params=SPACES, ids="+".join)
def found(things, request):
    return things[request.param]


def test_a_file_keeps_all_of_it(found):
    again = Found.load(found.save(), "the file")
    assert (again.facts, again.digest, again.start) == (found.facts, found.digest, None)
    assert torch.equal(again.image_embeds, found.image_embeds)
    for kept, own in zip(again.learnt, found.learnt, strict=True):
        torch.testing.assert_close(kept, own, rtol=1e-3, atol=1e-6)
    assert (found.likeness(again).embedding, found.likeness(again).picture) == pytest.approx((1, 1))


def test_its_own_sentence_gives_it_again_with_other_drawings(model, density, checker, found):
    kept = Found.load(found.save(), "the file")
    again = made(model, density, checker, found=kept, count=3, seed=40)
    assert sorted(output.seed for output in again.outputs) == [40, 41, 42]
    assert len({output.image.tobytes() for output in again.outputs}) == 3
    for output in again.outputs:
        assert cosine_similarity(output.image_embeds, found.image_embeds, dim=0) > 0.9999
        assert output.likeness.embedding > 0.999
        assert output.likeness.picture == pytest.approx(float(output.found.looks @ found.looks), abs=1e-6)


def test_another_sentence_has_half_of_its_say_unless_a_strength_is_named(model, found):
    here, there = (
        Space(model, Subject("handbag", prompt), found.facts.space) for prompt in (DEFAULT_PROMPT, ON_THE_BEACH)
    )

    def at(space, strength):
        return found.sample(space, strength)[0]

    plain = at(there, 0.0) - at(here, 0.0)
    shares = [float((at(there, i / 20) - at(here, i / 20)) @ plain / (plain @ plain)) for i in range(21)]
    strongest = max(i for i, share in enumerate(shares) if share >= 0.5)
    torch.testing.assert_close(at(there, None), at(there, strongest / 20))
    start = [part[None] for part in here.start(0)]
    torch.testing.assert_close(
        at(here, 0.0), here.sample(start, here.noise([torch.Generator().manual_seed(found.facts.seed)], 1))[0]
    )


def test_what_comes_of_it_is_a_found_thing_of_its_sentence(model, beach, checker, found):
    subject = Subject("handbag", ON_THE_BEACH)
    there = made(model, beach, checker, subject, found).outputs[0].found
    assert (there.facts.prompt, there.facts.seed) == (ON_THE_BEACH, found.facts.seed)
    again = made(model, beach, checker, subject, there, seed=9).outputs[0]
    assert cosine_similarity(again.image_embeds, there.image_embeds, dim=0) > 0.9999


def test_a_picture_of_it_replays_bit_for_bit_with_it_alone(model, density, checker, things):
    found, other = things[("lora",)], things[("token",)]
    output = made(model, density, checker, found=found, found_strength=0.7).outputs[0]
    again = replay(model, density, checker, output.replay, silent, found)
    assert (again.image.tobytes(), again.replay, again.likeness) == (
        output.image.tobytes(),
        output.replay,
        output.likeness,
    )
    for wrong, told in ((None, "whose file is needed"), (other, f"this one is {other.digest[:12]}")):
        with pytest.raises(ReplayError, match=f"is of the found thing {found.digest[:12]}, {told}"):
            replay(model, density, checker, output.replay, silent, wrong)


def test_each_rung_of_a_ladder_has_its_own(model, density, checker):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("services.diffusion.trials.MIN_VALIDITY", 0.0)
        patch.setattr("services.diffusion.steering.spaces.FACTOR_STEP", 1e-3)
        ladder = {"target_bits": 6.0, "ladder": (2.0, 4.0, 6.0), "steps": 30, "seed": 0, "count": 2, "trials": 4}
        outputs = made(model, density, checker, **ladder).outputs
    assert max(output.rung.index for output in outputs) == 2
    for output in outputs:
        again, _ = output.found.sample(Space(model, SUBJECT, ["lora"]), None)
        assert cosine_similarity(again, output.image_embeds, dim=0) > 0.9999


def test_a_variation_is_found_again_from_its_start(model, checker):
    start = model.sample_prior(model.encode_prompt("a chair"), torch.Generator().manual_seed(3), 1)[0].detach()
    subject = Subject("handbag", DEFAULT_PROMPT, start, 0.3)
    density = fit_density(model, subject, samples=500, seed=0, report=silent)
    output = made(model, density, checker, subject).outputs[0]
    kept = Found.load(output.found.save(), "the file")
    again = made(model, density, checker, kept.subject(DEFAULT_PROMPT), kept).outputs[0]
    assert cosine_similarity(again.image_embeds, output.image_embeds, dim=0) > 0.9999


def test_of_another_model_it_is_refused(model, density, checker, things):
    found = things[("lora",)]
    other = replace(found, facts=found.facts.model_copy(update={"model": "f" * 64}))
    with pytest.raises(ValueError, match="what is found is of the model ffffffffffff"):
        made(model, density, checker, found=other)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda data, _tensors, _facts: data[:-1], "cannot load the file: "),
        (lambda _data, tensors, _facts: save(tensors), "only its embedding is kept, and not what was learnt"),
        (
            lambda _data, tensors, facts: save(tensors | {"mean": tensors["mean"] / 0}, facts),
            "mean has values that are no",
        ),
        (lambda _data, tensors, facts: save({"mean": tensors["mean"]}, facts), "image_embeds"),
        (lambda *_: b"", "cannot load the file: "),
    ],
)
def test_a_damaged_file_is_named(things, damage, told):
    found = things[("lora",)]
    data = found.save()
    broken = damage(data, load(data), {FACTS: found.facts.model_dump_json()})
    with pytest.raises(CheckpointError, match=told):
        Found.load(broken, "the file")


def test_what_was_learnt_in_other_shapes_is_refused(model, things):
    found = things[("lora",)]
    for learnt in ([found.learnt[0][:-1]], []):
        with pytest.raises(CheckpointError, match="cannot load what was learnt"):
            replace(found, learnt=learnt).sample(Space(model, SUBJECT, ["lora"]), 1.0)
