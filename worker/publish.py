"""Pictures, and what was learnt for them → objects in the store."""

import hashlib
import io
from dataclasses import asdict

from PIL import Image

from services.diffusion.density.fit import Report
from services.diffusion.run import Output
from services.jobs.leases import Claim
from services.jobs.record import FoundLikeness, ReachedRarity, StoredOutput
from services.objects.keys import output_key, state_key
from services.objects.storage import Storage

_QUALITY = {"png": {}, "webp": {"quality": 90}, "jpeg": {"quality": 95}}


def upload(storage: Storage, claim: Claim, outputs: list[Output], report: Report) -> list[StoredOutput]:
    """Store every picture under this attempt's own keys; StorageError after the store's own retries."""
    stored = []
    for index, output in enumerate(outputs):
        report("upload", index, len(outputs), None)
        data = encode(output.image, claim.request.format)
        key = output_key(claim.id, claim.attempt, index, claim.request.format)
        media_type = f"image/{claim.request.format}"
        storage.put(state_key(claim.id, claim.attempt, index), output.found.save(), "application/octet-stream")
        storage.put(key, data, media_type)
        stored.append(_describe(output, key, data, media_type))
    return stored


def encode(image: Image.Image, picture_format: str) -> bytes:
    """The picture as a file of the format: png, webp or jpeg."""
    file = io.BytesIO()
    image.save(file, picture_format, **_QUALITY[picture_format])
    return file.getvalue()


def _describe(output: Output, key: str, data: bytes, media_type: str) -> StoredOutput:
    return StoredOutput(
        key=key,
        media_type=media_type,
        width=output.image.width,
        height=output.image.height,
        bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        seed=output.seed,
        rarity=ReachedRarity.model_validate(output.rarity | {"rung": output.rung and asdict(output.rung)}),
        anchor=output.anchor,
        validity=output.validity,
        novelty_bits=output.novelty_bits,
        likeness=FoundLikeness.model_validate(asdict(output.likeness)) if output.likeness else None,
        replay=output.replay,
    )
