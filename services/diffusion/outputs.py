"""What is handed out for a picture: its figures, what was learnt for it, and all that reproduces it."""

from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version

import torch
from jaxtyping import Float
from PIL import Image
from safetensors.torch import save
from torch import Tensor

from services.diffusion.checkers.open_clip import Checker
from services.diffusion.density.model import DensityModel
from services.diffusion.kandinsky.decoder import DecodeSettings
from services.diffusion.kandinsky.schedule import PRIOR_STEPS
from services.diffusion.replay import GenerationConfig, to_json
from services.diffusion.steering.clusters import Steering
from services.diffusion.steering.spaces import Space
from services.diffusion.trials import Checked, State

LIBRARIES = ("rarebit", "torch", "diffusers", "transformers", "open_clip_torch")


@dataclass(frozen=True)
class Output:
    """A picture and its own figures; `rarity` has percentile, bits, d2 and residual (a quantile of the baseline's).

    `image_embeds` is what was decoded. `validity` is None where the judge knows no noun of the concept. `novelty_bits`
    is its surprisal to who has seen the history, if there is one.
    """

    image: Image.Image
    seed: int
    rarity: dict[str, float]
    anchor: float
    validity: float | None
    novelty_bits: float | None
    image_embeds: Float[Tensor, "dim"]
    replay: dict[str, object]

    @property
    def model(self) -> str:
        """The fingerprint of the model in whose space `image_embeds` is."""
        return str(self.replay["model"])

    def learnt(self) -> bytes:
        """What later requests can steer by, as safetensors: `image_embeds` (dim,), and the `model` of its space."""
        return save({"image_embeds": self.image_embeds}, {"model": self.model})


@dataclass(frozen=True)
class About:
    """What the pictures of one run have in common."""

    space: Space
    density: DensityModel
    checker: Checker
    config: GenerationConfig
    steering: Steering
    candidate: DecodeSettings
    picture: DecodeSettings

    @torch.no_grad()
    def output(self, check: Checked) -> Output:
        """One picture with its figures."""
        state = check.state
        figures = {"percentile": self.density.percentile(state.d2), "bits": state.bits, "d2": state.d2}
        return Output(
            image=check.image,
            seed=state.seed,
            rarity=figures | {"residual": state.residual},
            anchor=state.anchor,
            validity=check.validity,
            novelty_bits=self._novelty_bits(state),
            image_embeds=state.image_embeds.float().cpu(),
            replay=self._replay(state),
        )

    def _novelty_bits(self, state: State) -> float | None:
        if self.steering.belief is None:
            return None
        return self.steering.belief.bits(self.density.subspace.project(state.image_embeds[None]))[0]

    def _replay(self, state: State) -> dict[str, object]:
        """JSON that `generate.replay` turns into the picture again."""
        return self.run() | {"row_seed": state.seed, "step": state.step}

    def run(self) -> dict[str, object]:
        """JSON of all that the run's pictures depend on."""
        model = self.space.model
        return {
            "recipe": to_json(self.config, self.space.subject, self.steering),
            "model": model.fingerprint,
            "density": self.density.fingerprint,
            "density_samples": self.density.samples,
            "checker": self.checker.fingerprint,
            **asdict(self.picture),
            "candidate": asdict(self.candidate),
            "prior_steps": PRIOR_STEPS,
            "prior_guidance": model.guidance_scale,
            "device": model.device.type,
            "dtype": str(model.dtype).removeprefix("torch."),
            "threads": torch.get_num_threads(),
            "versions": {name: version_of(name) for name in LIBRARIES},
        }


def version_of(name: str) -> str | None:
    """The version that is installed; None for what runs from its source tree."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None
