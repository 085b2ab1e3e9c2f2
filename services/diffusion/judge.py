"""Decode embeddings and ask the checker, reporting every decoder step and keeping the time that it takes."""

import time

from jaxtyping import Float
from PIL import Image
from torch import Tensor

from services.diffusion.decoder import Decoder, Picture
from services.diffusion.fit import Report
from services.diffusion.memory import Batches
from services.diffusion.optimize import noise_of
from services.diffusion.validity import Checker, validity_of

BATCH = 8


class Judge:
    """What a trial's embedding looks like, and P(valid) of that, None where the checker knows no noun of the concept;
    called with a seed per row."""

    def __init__(self, decoder: Decoder, checker: Checker, concept: str, picture: Picture, report: Report) -> None:
        self.decoder, self.checker, self.concept, self.picture, self.report = decoder, checker, concept, picture, report
        self.reading = checker.reading(concept)
        self.batches = Batches(BATCH)
        self.decode_s = self.check_s = 0.0

    def __call__(
        self, seeds: list[int], image_embeds: Float[Tensor, "rows dim"]
    ) -> list[tuple[Image.Image, float | None]]:
        begin = time.perf_counter()
        images = self._decode(seeds, image_embeds)
        decoded = time.perf_counter()
        self.report("check", 0, 1, None)
        validity = validity_of(self.checker, images, self.concept, self.reading)
        self.report("check", 1, 1, None)
        self.decode_s += decoded - begin
        self.check_s += time.perf_counter() - decoded
        return list(zip(images, validity, strict=True))

    def _decode(self, seeds: list[int], image_embeds: Tensor) -> list[Image.Image]:
        done, steps = 0, self.picture.num_inference_steps

        def decode(rows: list[int]) -> list[Image.Image]:
            nonlocal done

            def on_step(step: int, _: int) -> None:
                self.report("decode", done * steps + step * len(rows), len(seeds) * steps, None)

            noise = noise_of([seeds[row] for row in rows])
            images = self.decoder.decode(image_embeds[rows], noise, self.picture, on_step)
            done += len(rows)
            return images

        return self.batches.map(decode, list(range(len(seeds))))
