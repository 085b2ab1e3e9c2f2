"""A request in the sampler's words."""

from services.diffusion.replay import Recipe
from services.jobs.accepted import AcceptedRequest


def recipe_of(request: AcceptedRequest) -> Recipe:
    """What the request asks for."""
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
