"""Concept → images: the use case."""

import time
from dataclasses import dataclass
from math import log2

import torch

from services.diffusion.density import DensityModel
from services.diffusion.fit import Report
from services.diffusion.judge import Judge
from services.diffusion.kandinsky import Kandinsky
from services.diffusion.optimize import Optimization, noise_of
from services.diffusion.outputs import About, Output
from services.diffusion.spaces import TokenSpace
from services.diffusion.trials import Checked, Figures, choose, states_of
from services.diffusion.validity import OpenClipChecker


@dataclass(frozen=True)
class Rarity:
    """A target: a percentile of what the prompt usually gives, or bits = −log₂(1 − percentile/100)."""

    percentile: float | None = None
    bits: float | None = None

    def __post_init__(self) -> None:
        if (self.percentile is None) == (self.bits is None):
            raise ValueError(f"a rarity is either a percentile or bits, got {self.percentile} and {self.bits}")
        if self.percentile is not None and not 0 < self.percentile < 100:
            raise ValueError(f"a percentile must be between 0 and 100, got {self.percentile}")

    @property
    def target_bits(self) -> float:
        if self.bits is not None:
            return self.bits
        return -log2(1 - (self.percentile or 0) / 100)


@dataclass(frozen=True)
class Generation:
    """What a run gives; `timings_ms` has optimize, check and decode."""

    outputs: list[Output]
    warnings: list[str]
    timings_ms: dict[str, int]


def generate(
    model: Kandinsky,
    density: DensityModel,
    checker: OpenClipChecker,
    *,
    concept: str,
    prompt: str,
    count: int,
    rarity: Rarity,
    steps: int,
    trials: int | None,
    seed: int,
    size: int | None,
    decoder_steps: int | None,
    guidance_scale: float | None,
    report: Report,
) -> Generation:
    """`count` diverse pictures of the concept at the wanted rarity, each the best of its own trial.

    Row i of the batch has the noise of seed + i. ValueError for a target, size or number of trials that cannot be, and
    for a density of another model or prompt. Whatever `report` raises passes through.
    """
    trials = trials_for(count) if trials is None else trials
    if not 1 <= count <= trials:
        raise ValueError(f"{count} images need at least as many trials, got {trials}")
    density = fitting(density, model, concept, prompt)
    picture = model.decoder.picture(size, decoder_steps, guidance_scale)
    judge = Judge(model.decoder, checker, concept, picture, report)
    begin = time.perf_counter()
    space = TokenSpace(model, concept, prompt, trials)
    run = Optimization(model, density, space, [seed + i for i in range(trials)], rarity.target_bits)
    finished = run.run(steps, judge, report)
    optimize_s = time.perf_counter() - begin - judge.decode_s - judge.check_s
    chosen = choose([trial.best for trial in finished], run.target.lowest, count)
    settings = {"seed": seed, "trials": trials, "steps": steps, "target_bits": rarity.target_bits}
    about = About(model, density, checker, concept, prompt, picture, settings)
    seconds = {"optimize": optimize_s, "check": judge.check_s, "decode": judge.decode_s}
    return Generation(
        outputs=[about.output(check) for check in chosen],
        warnings=warnings_of(chosen, run.target.lowest, rarity.target_bits),
        timings_ms={name: round(1000 * value) for name, value in seconds.items()},
    )


@torch.no_grad()
def sample_plain(
    model: Kandinsky,
    density: DensityModel,
    checker: OpenClipChecker,
    *,
    concept: str,
    prompt: str,
    seeds: list[int],
    size: int | None,
    decoder_steps: int | None,
    guidance_scale: float | None,
    report: Report,
) -> list[Output]:
    """What the prompt gives without steering, a picture per seed: where `generate` starts for that seed."""
    density = fitting(density, model, concept, prompt)
    picture = model.decoder.picture(size, decoder_steps, guidance_scale)
    positive = model.encode_prompt(density.text)
    image_embeds = model.sample_prior(positive, noise_of(seeds), len(seeds))
    figures = Figures.of(density, image_embeds, positive.text_embeds)
    states = states_of(density, seeds, 0, image_embeds, figures)
    verdicts = Judge(model.decoder, checker, concept, picture, report)(seeds, image_embeds)
    checks = [Checked(state, *verdict) for state, verdict in zip(states, verdicts, strict=True)]
    about = About(model, density, checker, concept, prompt, picture, {"steps": 0})
    return [about.output(check) for check in checks]


def trials_for(count: int) -> int:
    """Trials that leave a choice when most of them lose the concept: 12 for one image, 30 for four, never above 64."""
    return min(64, 6 * count + 6)


def fitting(density: DensityModel, model: Kandinsky, concept: str, prompt: str) -> DensityModel:
    """The density on the model's device; ValueError if it is of another model or prompt."""
    if density.model_fingerprint != model.fingerprint:
        raise ValueError(f"the density is of the model {density.model_fingerprint[:12]}, not {model.fingerprint[:12]}")
    if density.text != (text := prompt.replace("{}", concept)):
        raise ValueError(f"the density is of {density.text!r}, not {text!r}")
    return density.to(model.device)


def warnings_of(chosen: list[Checked], d2: float, bits: float) -> list[str]:
    """What was asked for and could not be had, a sentence each."""
    common = sum(check.state.d2 < d2 for check in chosen)
    unlike = sum(not check.passed for check in chosen)
    found = []
    if common:
        best = max(check.state.bits for check in chosen)
        found.append(f"{common} of {len(chosen)} images are below {bits:.1f} bits; the rarest has {best:.1f}")
    if unlike:
        least = min(check.validity for check in chosen)
        found.append(
            f"{unlike} of {len(chosen)} images are not clearly of the concept; the least has validity {least:.2f}"
        )
    return found
