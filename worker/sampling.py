"""A request in the sampler's words."""

from services.diffusion.density import DensityModel
from services.diffusion.fit import Report
from services.diffusion.generate import Generation, Rarity, generate
from services.schemas import JobRequest
from worker.models import Models


def sample(models: Models, density: DensityModel, request: JobRequest, report: Report) -> Generation:
    """The pictures that `request` asks for; ValueError unless its seed is drawn."""
    if request.seed is None:
        raise ValueError(f"the seed of the request for {request.concept!r} was never drawn")
    return generate(
        models.model,
        density,
        models.checker,
        concept=request.concept,
        prompt=request.prompt,
        count=request.count,
        rarity=Rarity(percentile=request.rarity.percentile, bits=request.rarity.bits),
        steps=request.steps,
        trials=request.trials,
        seed=request.seed,
        size=request.size,
        decoder_steps=request.decoder_steps,
        guidance_scale=request.guidance_scale,
        report=report,
    )
