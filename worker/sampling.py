"""A request in the sampler's words."""

from services.diffusion.recipe import Recipe
from services.job_request import JobRequest


def recipe_of(request: JobRequest) -> Recipe:
    """What the request asks for; ValueError unless its seed is drawn."""
    if request.seed is None:
        raise ValueError(f"the seed of the request for {request.concept!r} was never drawn")
    return Recipe(
        target_bits=request.rarity.target_bits,
        seed=request.seed,
        count=request.count,
        mode=request.mode,
        space=request.space,
        steps=request.steps,
        trials=request.trials,
        size=request.size,
        decoder_steps=request.decoder_steps,
        guidance_scale=request.guidance_scale,
    )
