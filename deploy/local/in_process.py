"""The sampler without a server: models and densities in this process, over the same data folder."""

from contextlib import nullcontext
from pathlib import Path

from services.diffusion.generate import Report
from services.settings import Settings
from services.storage import open_storage

from deploy.local.data_folder import signing_key
from services.diffusion.density import DensityModel
from worker.models import Models, load_models


def load(data: Path) -> Models:
    """The models that the environment names, with densities kept in `data` (or in S3, if that is set)."""
    data.mkdir(parents=True, exist_ok=True)
    settings = Settings(data_dir=data, signing_key=signing_key(data))
    return load_models(settings, open_storage(settings))


def density(models: Models, concept: str, prompt: str, report: Report) -> DensityModel:
    """The density of `concept`, fitted here when it is new."""
    return models.densities.get(concept, prompt, report, lambda _key, report: nullcontext(report))
