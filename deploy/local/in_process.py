"""The sampler without a server: models and densities in this process, over the same data folder."""

import mimetypes
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor

from deploy.local.data_folder import signing_key
from services.diffusion import generate as sampler
from services.diffusion.checkers.safety import is_safe, require_safe
from services.diffusion.density.fit import Report
from services.diffusion.density.model import DensityModel
from services.diffusion.density.subject import Subject
from services.diffusion.found import Found
from services.diffusion.generate import Generation
from services.diffusion.replay import GenerationConfig, from_json
from services.diffusion.run import Output, Run
from services.diffusion.runtime.checkpoint import described
from services.diffusion.steering.clusters import History, Named, Weighed, require_fitting, steer
from services.diffusion.steering.spaces import before_the_concept
from services.errors import OtherConceptError, OtherModelError
from services.exposure import View
from services.objects.storage import open_storage
from services.pictures.files import carried
from services.pictures.pixels import read_picture
from services.sampler.models import Models, load_models
from services.sampler.requests import history_of
from services.settings import Settings
from services.texts.concepts import canonical


def load(data: Path) -> Models:
    """The models that the environment names, with densities kept in `data` (or in S3, if that is set)."""
    data.mkdir(parents=True, exist_ok=True)
    settings = Settings.read(data_dir=data, signing_key=signing_key(data))
    return load_models(settings, open_storage(settings))


def density(models: Models, subject: Subject, report: Report) -> DensityModel:
    """The density of the subject, fitted here when it is new."""
    return models.densities.get(subject, report, lambda _key, report: nullcontext(report)).density


def generate(
    models: Models,
    subject: Subject,
    config: GenerationConfig,
    report: Report,
    *,
    avoid: Sequence[tuple[str, float]] = (),
    toward: Sequence[tuple[str, float]] = (),
    seen: Sequence[View] | None = None,
    found: Found | None = None,
) -> Generation:
    """What a worker would make; a wish is words, or the path of a picture, with its weight.

    UnsafeContentError when content safety refuses one of these, or all that is made.
    """
    avoided, wished = ([Weighed(named(models, word), weight) for word, weight in own] for own in (avoid, toward))
    words = [word for word, weight in (*avoided, *wished) if isinstance(word, str) and weight]
    require_fitting(models.model, subject, words + before_the_concept(config.space))
    models.model.decoder.settings(config.size, config.decoder_steps, config.guidance_scale)  # or no fit
    own = density(models, subject, report)
    history: History | None = None if seen is None else history_of(seen, subject.concept, models.model)
    steering = steer(models.model, own, subject, avoid=avoided, toward=wished, history=history, report=report)
    made = sampler.generate(Run(models.model, own, models.checker, subject, config, steering, found), report)
    return made.withhold(models.safety)


def found(models: Models, path: Path, concept: str) -> Found:
    """What a picture carries, or lies beside it. OtherModelError, OtherConceptError, CheckpointError."""
    learnt = path.with_suffix(".safetensors")
    with described(str(learnt)):
        data = carried(path.read_bytes()) or learnt.read_bytes()
    thing = Found.load(data, f"what led to {path}")
    if thing.facts.model != models.model.fingerprint:
        raise OtherModelError(str(path), f"the model {thing.facts.model[:12]}", models.model.fingerprint)
    if thing.facts.concept != canonical(concept):
        raise OtherConceptError(str(path), thing.facts.concept, canonical(concept))
    return thing


def replay(models: Models, block: dict[str, Any], report: Report, of: Path | None) -> Output:
    """The picture that `block` came with, `of` what was found, if it was; ReplayError when model, density or checker
    differ, UnsafeContentError."""
    _, subject, _ = from_json(block["recipe"])
    thing = found(models, of, subject.concept) if of else None
    output = sampler.replay(models.model, density(models, subject, report), models.checker, block, report, thing)
    require_safe(output.image, "replay", models.safety)
    return output


def plain(models: Models, subject: Subject, config: GenerationConfig, seeds: list[int], report: Report) -> list[Output]:
    """The unsteered picture of each seed, if it is safe, with the figures that the density and the checker give it."""
    own = density(models, subject, report)
    outputs = sampler.sample_plain(Run(models.model, own, models.checker, subject, config), report, seeds)
    return [output for output in outputs if is_safe(output.image, models.safety)]


def named(models: Models, word: str) -> Named:
    """Words as they are; of a picture its embedding."""
    path = Path(word)
    return start(models, path)[None] if path.is_file() else word


def start(models: Models, path: Path) -> Tensor:
    """The embedding of a picture: as it was decoded from, if that lies beside it and is in the model's space, or the
    image encoder's."""
    if (learnt := path.with_suffix(".safetensors")).exists():
        with safe_open(learnt, "pt") as file:
            image_embeds: Tensor = file.get_tensor("image_embeds")
            model = (file.metadata() or {}).get("model")
        if models.model.knows(image_embeds, model):
            return image_embeds
    media_type = mimetypes.guess_type(path.name)[0] or ""
    picture = read_picture(path.read_bytes(), media_type)
    require_safe(picture, str(path), models.safety)
    return models.model.embed_image(picture)
