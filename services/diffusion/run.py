"""A run, as all that its pictures depend on, and what is handed out for each: figures, and all that reproduces it."""

from dataclasses import asdict, dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from services.diffusion.checkers.open_clip import Checker
from services.diffusion.density.model import DensityModel
from services.diffusion.density.subject import Subject
from services.diffusion.found import Found, Likeness
from services.diffusion.kandinsky.model import Kandinsky
from services.diffusion.kandinsky.schedule import PRIOR_STEPS
from services.diffusion.replay import GenerationConfig, to_json
from services.diffusion.steering.clusters import UNSTEERED, Steering
from services.diffusion.steering.spaces import Space
from services.diffusion.trials import Checked, State
from services.found import FoundFacts

LIBRARIES = ("rarebit", "torch", "diffusers", "transformers", "open_clip_torch")


@dataclass(frozen=True)
class Rung:
    """Where on a ladder a picture stands: on which trial's way up, at which rung, from 0 on, and the bits of that."""

    column: int
    index: int
    bits: float


@dataclass(frozen=True)
class Output:
    """A picture and its own figures; `rarity` has percentile, bits, d2 and residual (a quantile of the baseline's).

    `rung` is None without a ladder. `found` has what was decoded, and what led there. `validity` is None where the
    judge knows no noun of the concept. `novelty_bits` is its surprisal to who has seen the history, if there is one,
    and `likeness` that to the found thing of which it is a picture.
    """

    image: Image.Image
    seed: int
    rarity: dict[str, float]
    anchor: float
    validity: float | None
    novelty_bits: float | None
    found: Found
    replay: dict[str, object]
    rung: Rung | None = None
    likeness: Likeness | None = None

    @property
    def image_embeds(self) -> Float[Tensor, "dim"]:
        """What was decoded, float32 on the CPU."""
        return self.found.image_embeds


@dataclass
class Run:
    """All that a run's pictures depend on, on the model's device; the density is the subject's.

    With `found` they are pictures of that, and nothing is optimised.

    Raises ValueError for a density of another model, text or start, for a found thing of another model, and for a size
    or steps that cannot be.
    """

    model: Kandinsky
    density: DensityModel
    checker: Checker
    subject: Subject
    config: GenerationConfig
    steering: Steering = UNSTEERED
    found: Found | None = None

    def __post_init__(self) -> None:
        self.density = fitting(self.density, self.model, self.subject)
        if self.found and self.found.facts.model != self.model.fingerprint:
            raise ValueError(f"what is found is of the model {self.found.facts.model[:12]}")
        self.steering = self.steering.to(self.model.device)
        config, decoder = self.config, self.model.decoder
        self.settings = decoder.settings(config.size, config.decoder_steps, config.guidance_scale)
        self.candidate = decoder.as_candidate(self.settings)

    @cached_property
    def space(self) -> Space:
        """What is optimised, or was; ValueError for a space that there is not."""
        return Space(self.model, self.subject, self.found.facts.space if self.found else self.config.space)

    @torch.no_grad()
    def output(self, check: Checked, rung: Rung | None = None) -> Output:
        """One picture with its figures."""
        state = check.state
        figures = {"percentile": self.density.percentile(state.d2), "bits": state.bits, "d2": state.d2}
        found = self._found(check)
        return Output(
            image=check.image,
            seed=state.seed,
            rarity=figures | {"residual": state.residual},
            anchor=state.anchor,
            validity=check.validity,
            novelty_bits=self._novelty_bits(state),
            found=found,
            replay=self.described() | {"row_seed": state.seed, "step": state.step} | _named(rung),
            rung=rung,
            likeness=self.found.likeness(found) if self.found else None,
        )

    def _found(self, check: Checked) -> Found:
        """What the picture's trial had learnt."""
        looks = self.checker.embed([check.image])
        return Found(
            FoundFacts(
                model=self.model.fingerprint,
                checker=self.checker.fingerprint,
                concept=self.subject.concept,
                prompt=self.subject.prompt,
                space=self.space.names,
                seed=self.found.facts.seed if self.found else check.state.seed,
                strength=self.subject.strength,
                bits=check.state.bits,
                validity=check.validity,
            ),
            image_embeds=check.state.image_embeds.float().cpu(),
            mean=self.density.subspace.mean.float().cpu(),
            learnt=[part.cpu() for part in check.learnt],
            start=None if self.subject.start is None else self.subject.start.cpu(),
            looks=None if looks is None else looks[0].float().cpu(),
        )

    def _novelty_bits(self, state: State) -> float | None:
        if self.steering.belief is None:
            return None
        return self.steering.belief.bits(self.density.subspace.project(state.image_embeds[None]))[0]

    def described(self) -> dict[str, object]:
        """The run as JSON: with a row's seed and step, what `replay` turns into the picture again."""
        return {
            "recipe": to_json(self.config, self.subject, self.steering),
            "model": self.model.fingerprint,
            "density": self.density.fingerprint,
            "density_samples": self.density.samples,
            "checker": self.checker.fingerprint,
            **asdict(self.settings),
            "candidate": asdict(self.candidate),
            "prior_steps": PRIOR_STEPS,
            "prior_guidance": self.model.guidance_scale,
            "device": self.model.device.type,
            "dtype": str(self.model.dtype).removeprefix("torch."),
            "threads": torch.get_num_threads(),
            "versions": {name: version_of(name) for name in LIBRARIES},
        } | ({"found": self.found.digest} if self.found else {})


def _named(rung: Rung | None) -> dict[str, object]:
    """What tells the picture from others of its trial."""
    return {"rung": rung.index} if rung else {}


def fitting(density: DensityModel, model: Kandinsky, subject: Subject) -> DensityModel:
    """The density on the model's device; ValueError if it is of another model, text or start."""
    if density.model_fingerprint != model.fingerprint:
        raise ValueError(f"the density is of the model {density.model_fingerprint[:12]}, not {model.fingerprint[:12]}")
    if not density.is_of(subject):
        raise ValueError(f"the density is of ‘{density.text}’, not of ‘{subject.text}’, or of another start")
    return density.to(model.device)


def version_of(name: str) -> str | None:
    """The version that is installed; None for what runs from its source tree."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None
