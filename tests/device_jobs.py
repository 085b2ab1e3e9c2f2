"""Every feature of the sampler once, small enough for any device: what one gives is held against what the CPU gives."""

import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from torch.nn.functional import cosine_similarity

from services.diffusion import optimize
from services.diffusion.checkers.open_clip import Checker, load_checker
from services.diffusion.checkers.safety import SafetyChecker, load_safety_checker
from services.diffusion.density.fit import fit_density
from services.diffusion.density.model import DensityModel
from services.diffusion.density.subject import Subject
from services.diffusion.found import Found
from services.diffusion.generate import generate, replay, sample_plain
from services.diffusion.kandinsky.decoder import Decoder
from services.diffusion.kandinsky.model import Kandinsky
from services.diffusion.replay import GenerationConfig
from services.diffusion.run import Output, Run
from services.diffusion.runtime.savepoint import Savepoint
from services.diffusion.steering.clusters import UNSTEERED, History, Steering, steer
from services.diffusion.steering.spaces import Space

SUBJECT = Subject("handbag", "Professional high-quality photo of a {}. photorealistic, 4k, HQ.")
SAMPLES = 500
CONFIG = GenerationConfig(target_bits=30.0, seed=0, count=2, trials=2, steps=2, size=64, decoder_steps=2)
RED = Image.new("RGB", (64, 64), (180, 30, 40))


@dataclass(frozen=True)
class Bench:
    """A worker's parts on one device, and the density of the subject that all devices have in common."""

    model: Kandinsky
    checker: Checker
    vlm: Checker
    safety: SafetyChecker
    density: DensityModel
    subject: Subject = SUBJECT

    def run(
        self,
        config: GenerationConfig = CONFIG,
        steering: Steering = UNSTEERED,
        found: Found | None = None,
        **more: Any,
    ) -> list[Output]:
        run = Run(self.model, self.density, self.checker, self.subject, config, steering, found)
        return generate(run, silent, **more).outputs


@dataclass(frozen=True)
class Outcome:
    """What a job gives: embeddings in rows, rarities in bits, probabilities."""

    embeds: Float[Tensor, "rows dim"] = field(default_factory=lambda: torch.ones(1, 1))
    bits: list[float] = field(default_factory=list)
    probabilities: list[float] = field(default_factory=list)

    @classmethod
    def of(cls, outputs: list[Output]) -> "Outcome":
        """Of pictures, in the order of their seeds."""
        ordered = sorted(outputs, key=lambda output: output.seed)
        validity = [output.validity for output in ordered if output.validity is not None]
        return cls(torch.stack([o.image_embeds for o in ordered]), [o.rarity["bits"] for o in ordered], validity)

    def difference(self, other: "Outcome") -> "Difference":
        """How far two devices are apart."""
        cosine = cosine_similarity(self.embeds.double(), other.embeds.double()).min().item()
        return Difference(cosine, apart(self.bits, other.bits), apart(self.probabilities, other.probabilities))


@dataclass(frozen=True)
class Difference:
    """The least cosine of embeddings, and how far bits and probabilities are apart at most."""

    cosine: float
    bits: float
    probability: float

    @property
    def small(self) -> bool:
        """What rounding may do."""
        return self.cosine >= 0.999 and self.bits <= 0.2 and self.probability <= 0.01


def apart(own: list[float], other: list[float]) -> float:
    """The greatest difference, which is no number where one of them is none."""
    return float(np.abs(np.subtract(own, other)).max(initial=0.0))


Job = Callable[[Bench], Outcome]


def silent(*_: object) -> None:
    """A report that goes nowhere."""


def load(folders: dict[str, Path], density: DensityModel | None, *, device: str, dtype: torch.dtype) -> Bench:
    """The parts from the folders prior, decoder, scorer, vlm and safety; without a density a new one is fitted."""
    names = {name: str(folder) for name, folder in folders.items()}
    model = Kandinsky.load(names["prior"], names["decoder"], device=device, dtype=dtype)
    checker, vlm = (load_checker(names[name], device=device, dtype=dtype) for name in ("scorer", "vlm"))
    safety = load_safety_checker(names["safety"], device=device)
    density = density or fit_density(model, SUBJECT, samples=SAMPLES, seed=0, report=silent)
    return Bench(model, checker, vlm, safety, density)


def fitted(bench: Bench) -> Outcome:
    """A density comes back from its file as it was, and finds the same samples as rare."""
    own = fit_density(bench.model, SUBJECT, samples=SAMPLES, seed=0, report=silent)
    with tempfile.TemporaryDirectory() as folder:
        own.save(Path(folder))
        again = DensityModel.load(Path(folder))
    require(again.fingerprint == own.fingerprint == own.to(bench.model.device).fingerprint, "the density has changed")
    probes = bench.density.subspace.mean + bench.density.held_out[:4] @ bench.density.subspace.components
    return Outcome(again.subspace.mean[None], [again.bits(d2) for d2 in again.d2(probes).tolist()])


def optimised(bench: Bench, **config: Any) -> Outcome:
    return Outcome.of(bench.run(replace(CONFIG, **config)))


def plain(bench: Bench) -> Outcome:
    return Outcome.of(sample_plain(Run(bench.model, bench.density, bench.checker, SUBJECT, CONFIG), silent, [3, 4]))


def steered(bench: Bench, mode: str) -> Outcome:
    """Away from words and what was disliked, toward a picture and what was liked, to somebody who has seen some."""
    seen = torch.stack([output.image_embeds for output in bench.run(replace(CONFIG, steps=1, seed=7))])
    history = History(seen, liked=seen[:1], disliked=seen[1:])
    toward = [bench.model.embed_image(RED)[None]]
    steering = steer(bench.model, bench.density, SUBJECT, avoid=["red"], toward=toward, history=history, report=silent)
    outputs = bench.run(replace(CONFIG, mode=mode, trials=None if mode == "paper" else 2), steering=steering)
    novelty = [output.novelty_bits or 0.0 for output in outputs]
    return replace(Outcome.of(outputs), bits=[output.rarity["bits"] for output in outputs] + novelty)


def varied(bench: Bench) -> Outcome:
    """Variations of a picture, from their own density."""
    subject = replace(SUBJECT, start=bench.model.embed_image(RED))
    density = fit_density(bench.model, subject, samples=SAMPLES, seed=0, report=silent)
    return optimised(replace(bench, density=density, subject=subject))


def found_again(bench: Bench) -> Outcome:
    """What was found is drawn again from its file, in another sentence."""
    found = Found.load(bench.run(replace(CONFIG, space=["token", "lora"]))[0].found.save(), "the file")
    subject = found.subject("a {} on the beach")
    density = fit_density(bench.model, subject, samples=SAMPLES, seed=0, report=silent)
    return Outcome.of(replace(bench, density=density, subject=subject).run(found=found))


def resumed(bench: Bench) -> Outcome:
    """A run goes on from its savepoint, and ends as it did without a break."""
    kept: list[bytes] = []
    config = replace(CONFIG, steps=optimize.CHECK_EVERY + 1, space=["token", "lora"])
    whole = bench.run(config, savepoint=Savepoint(keep=kept.append))
    again = bench.run(config, savepoint=Savepoint(found=kept[0]))
    require([o.image.tobytes() for o in whole] == [o.image.tobytes() for o in again], "the resumed run differs")
    return Outcome.of(again)


def replayed(bench: Bench) -> Outcome:
    """A replay block gives its picture again."""
    outputs = bench.run()
    block = json.loads(json.dumps(outputs[0].replay))
    again = replay(bench.model, bench.density, bench.checker, block, silent)
    require(again.image.tobytes() == outputs[0].image.tobytes(), "the replayed picture differs")
    return Outcome.of([again])


def preloaded(bench: Bench) -> Outcome:
    """One worker fits a density and stores it, the next finds it there before its first job."""
    from services.objects.storage import LocalStorage
    from services.sampler.densities import Densities

    def density(root: str) -> DensityModel:
        storage = LocalStorage(Path(root), signing_key="k" * 32, public_url="http://gateway")
        densities = Densities(bench.model, storage, samples=SAMPLES, capacity=1)
        return densities.get(SUBJECT, silent, lambda _key, report: nullcontext(report)).density

    with tempfile.TemporaryDirectory() as root:
        require(density(root).fingerprint == density(root).fingerprint, "the stored density differs")
        return plain(replace(bench, density=density(root)))


def halved(bench: Bench) -> Outcome:
    """Two trials, where one fits the memory."""
    with room_for(1) as refused:
        outcome = optimised(bench)
    require(set(refused) == {"sample", "decode"}, f"nothing but {refused} was asked for more than fits")
    return outcome


@contextmanager
def room_for(rows: int) -> Iterator[list[str]]:
    """The prior and the decoder run out of memory on more rows; gives the verbs that did."""
    refused: list[str] = []

    def limited(verb: Callable[..., Any], rows_of: Callable[[Any, Any], int]) -> Callable[..., Any]:
        def work(self: Any, first: Any, second: Any, *more: Any) -> Any:
            if rows_of(first, second) > rows:
                refused.append(verb.__name__)
                raise torch.OutOfMemoryError("on purpose")
            return verb(self, first, second, *more)

        return work

    with (
        patch.object(Space, "sample", limited(Space.sample, lambda _, noise: noise.shape[1])),
        patch.object(Decoder, "decode", limited(Decoder.decode, lambda embeds, _: len(embeds))),
    ):
        yield refused


def judged(bench: Bench, checker: str) -> Outcome:
    return Outcome(probabilities=getattr(bench, checker).p_valid([RED, Image.new("RGB", (64, 64))], "handbag").tolist())


def withheld(bench: Bench) -> Outcome:
    return Outcome(probabilities=[bench.safety.p_unsafe(image) for image in (RED, Image.new("RGB", (64, 64)))])


def require(so: bool, otherwise: str) -> None:
    if not so:
        raise ValueError(otherwise)


JOBS: dict[str, Job] = {
    "a density is fitted, saved and loaded": fitted,
    "calibrated, token": partial(optimised, space=["token"]),
    "calibrated, adjective": partial(optimised, space=["adjective"]),
    "calibrated, LoRA": partial(optimised, space=["lora"]),
    "calibrated, token and LoRA": partial(optimised, space=["token", "lora"]),
    "paper": partial(optimised, mode="paper", trials=None, space=["token", "lora"]),
    "plain": plain,
    "avoid, toward and exposure": partial(steered, mode="calibrated"),
    "avoid, toward and exposure in mode paper": partial(steered, mode="paper"),
    "a start from a picture": varied,
    "a found thing again": found_again,
    "a savepoint": resumed,
    "a replay": replayed,
    "preloading": preloaded,
    "too little memory": halved,
    "open_clip": partial(judged, checker="checker"),
    "a vision-language model": partial(judged, checker="vlm"),
    "content safety": withheld,
}
