"""A request, and what its user has seen, in the sampler's words."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from services.diffusion.kandinsky.model import Kandinsky
from services.diffusion.replay import GenerationConfig
from services.diffusion.steering.clusters import History
from services.exposure import Feedback, View
from services.jobs.accepted import AcceptedRequest
from services.texts.concepts import canonical


def config_of(request: AcceptedRequest) -> GenerationConfig:
    """What the request asks for."""
    return GenerationConfig(
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
        variety=request.variety,
        ladder=tuple(request.rarity.ladder or ()),
        found_strength=request.found.strength if request.found else None,
    )


def history_of(views: Sequence[View], concept: str, model: Kandinsky) -> History:
    """The views of this concept, which others' densities have no part in, that are in the model's space."""
    of_concept = [view for view in views if canonical(view.concept) == canonical(concept)]
    own = [view for view in of_concept if model.knows(_embeds(view), view.model)]
    empty = torch.zeros(0, model.prior.config.embedding_dim)
    seen, liked, disliked = (
        [_embeds(view)[None] for view in own if view.feedback in feedback]
        for feedback in (Feedback, {Feedback.LIKED}, {Feedback.DISLIKED})
    )
    rows = [torch.cat([empty, *kind]) for kind in (seen, liked, disliked)]
    return History(rows[0], rows[1], rows[2], foreign=len(of_concept) - len(own))


def _embeds(view: View) -> Tensor:
    return torch.from_numpy(np.frombuffer(view.values(), "<f4").copy())
