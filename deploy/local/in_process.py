"""The sampler without a server: models and densities in this process, over the same data folder."""

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from deploy.local.data_folder import signing_key
from services.diffusion.density import DensityModel
from services.diffusion.fit import Report
from services.diffusion.generate import Generation, sample_plain
from services.diffusion.outputs import Output
from services.schemas import JobRequest
from services.settings import Settings
from services.storage import open_storage
from worker.models import Models, load_models
from worker.sampling import sample


def load(data: Path) -> Models:
    """The models that the environment names, with densities kept in `data` (or in S3, if that is set)."""
    data.mkdir(parents=True, exist_ok=True)
    settings = Settings.read(data_dir=data, signing_key=signing_key(data))
    return load_models(settings, open_storage(settings))


def density(models: Models, concept: str, prompt: str, report: Report) -> DensityModel:
    """The density of `concept`, fitted here when it is new."""
    return models.densities.get(concept, prompt, report, lambda _key, report: nullcontext(report))


def generate(models: Models, request: JobRequest, report: Report) -> Generation:
    """What a worker would make of `request`."""
    return sample(models, density(models, request.concept, request.prompt, report), request, report)


def plain(models: Models, request: JobRequest, seeds: Sequence[int], report: Report) -> list[Output]:
    """The unsteered picture of each seed, with the figures that the density and the checker give it."""
    return sample_plain(
        models.model,
        density(models, request.concept, request.prompt, report),
        models.checker,
        concept=request.concept,
        prompt=request.prompt,
        seeds=list(seeds),
        size=request.size,
        decoder_steps=request.decoder_steps,
        guidance_scale=request.guidance_scale,
        report=report,
    )
