"""What is handed out for a picture: its figures, and all that reproduces it."""

from dataclasses import asdict, dataclass
from importlib.metadata import version

from PIL import Image

from services.diffusion.decoder import Picture
from services.diffusion.density import DensityModel
from services.diffusion.kandinsky import PRIOR_STEPS, Kandinsky
from services.diffusion.trials import Checked, State
from services.diffusion.validity import OpenClipChecker

LIBRARIES = ("rarebit", "torch", "diffusers", "transformers", "open_clip_torch")


@dataclass(frozen=True)
class Output:
    """A picture and its own figures; `rarity` has percentile, bits, d2 and residual (a quantile of the baseline's)."""

    image: Image.Image
    seed: int
    rarity: dict[str, float]
    anchor: float
    validity: float
    replay: dict[str, object]


@dataclass(frozen=True)
class About:
    """What the pictures of one run have in common."""

    model: Kandinsky
    density: DensityModel
    checker: OpenClipChecker
    concept: str
    prompt: str
    picture: Picture
    settings: dict[str, int | float]

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
            replay=self._replay(state),
        )

    def _replay(self, state: State) -> dict[str, object]:
        """JSON; `generate` with seed = row_seed, one trial and otherwise these settings gives the picture again."""
        return {
            "model": self.model.fingerprint,
            "density": self.density.fingerprint,
            "checker": self.checker.fingerprint,
            "concept": self.concept,
            "prompt": self.prompt,
            **self.settings,
            "row_seed": state.seed,
            "step": state.step,
            **asdict(self.picture),
            "prior_steps": PRIOR_STEPS,
            "prior_guidance": self.model.guidance_scale,
            "device": self.model.device.type,
            "dtype": str(self.model.dtype).removeprefix("torch."),
            "versions": {name: version(name) for name in LIBRARIES},
        }
