"""The ways of sampling that are compared; each gives pictures of a concept, after its own selection."""

import torch

from deploy.evaluate.case import Case, Method, Sample, decoded, draw
from deploy.evaluate.conceptlab import conceptlab, conceptlab_published
from services.diffusion.density.fit import draw_baseline
from services.diffusion.generate import generate
from services.diffusion.replay import GenerationConfig
from services.diffusion.run import Run
from services.diffusion.steering.spaces import ADJECTIVE


def plain(case: Case, count: int, seed: int) -> Sample:
    """What the prompt gives."""
    return draw(case.model, case.subject.text, count, seed, case.report)


def creative(case: Case, count: int, seed: int) -> Sample:
    """What the prompt gives for "a creative …"."""
    text = case.subject.described_as(f"{ADJECTIVE} {case.subject.concept}")
    return draw(case.model, text, count, seed, case.report)


def best_of_n(case: Case, count: int, seed: int) -> Sample:
    """The rarest of as many fresh samples as the density was made from (trap 9 of the method: rejection is free)."""
    density = case.density
    image_embeds = draw_baseline(case.model, case.subject, density.samples, seed, case.report)
    rarest = image_embeds[density.d2(image_embeds).topk(count).indices]
    return decoded(case.model, rarest.to(case.model.device, case.model.dtype), seed, case.report)


def paper(case: Case, count: int, seed: int) -> Sample:
    """The printed method with token and factors: `count` samples of one trial."""
    config = GenerationConfig(
        case.target_bits, seed, count, mode="paper", space=["token", "lora"], steps=case.published_steps
    )
    return _generated(case, config)


def calibrated(case: Case, count: int, seed: int) -> Sample:
    """Ours, as the service runs it."""
    return _generated(case, GenerationConfig(case.target_bits, seed, count, steps=case.steps))


def _generated(case: Case, config: GenerationConfig) -> Sample:
    run = Run(case.model, case.density, case.checker, case.subject, config)
    outputs = generate(run, case.report).outputs
    image_embeds = torch.stack([output.image_embeds for output in outputs])
    return Sample([output.image for output in outputs], image_embeds, [output.seed for output in outputs])


METHODS: dict[str, Method] = {
    "plain": plain,
    "creative": creative,
    "best-of-n": best_of_n,
    "conceptlab": conceptlab,
    "conceptlab-published": conceptlab_published,
    "paper": paper,
    "calibrated": calibrated,
}
