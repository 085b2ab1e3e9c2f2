"""Decode embeddings and ask the checker, reporting every decoder step and keeping the time that it takes."""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import islice

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from services.diffusion.checkers.open_clip import Checker, validity_of
from services.diffusion.density.fit import Report
from services.diffusion.kandinsky.decoder import Decoder, DecodeSettings, noise_of
from services.diffusion.runtime.batching import Batching
from services.diffusion.trials import Checked


class Judge:
    """What a trial's embedding looks like as a candidate, and P(valid) of that, None where the checker knows no noun of
    the concept; called with a seed per row."""

    def __init__(
        self,
        decoder: Decoder,
        checker: Checker,
        concept: str,
        candidate: DecodeSettings,
        settings: DecodeSettings,
        report: Report,
        batching: Batching,
    ) -> None:
        self.decoder, self.checker, self.concept, self.report = decoder, checker, concept, report
        self.candidate, self.settings = candidate, settings
        self.reading = checker.reading(concept)
        self.batcher = batching.pictures()
        self.decode_s = self.check_s = 0.0

    def __call__(
        self, seeds: list[int], image_embeds: Float[Tensor, "rows dim"]
    ) -> list[tuple[Image.Image, float | None]]:
        return self._judge(self.candidate, seeds, image_embeds)

    def draw(self, checks: list[Checked]) -> list[Checked]:
        """The same, decoded in full and judged on that picture."""
        if not checks or self.candidate == self.settings:
            return checks
        states = [check.state for check in checks]
        embeds = torch.stack([state.image_embeds for state in states])
        verdicts = self._judge(self.settings, [state.seed for state in states], embeds)
        return [
            replace(c, image=image, validity=validity) for c, (image, validity) in zip(checks, verdicts, strict=True)
        ]

    def hand_out(self, ranked: list[Checked], count: int) -> list[Checked]:
        """The first `count`, drawn in full; for one that is then no longer of the concept, the next that was."""
        return [check for (check,) in self.hand_out_columns([[check] for check in ranked], count)]

    def hand_out_columns(self, ranked: list[list[Checked]], count: int) -> list[list[Checked]]:
        """The same of columns: for one with a picture that is then no longer of it, the next that is as high."""
        kept: list[list[Checked]] = []
        missed: list[list[Checked]] = []
        rest = ranked[:count] + [c for c in ranked[count:] if passed(c) and len(c) == len(ranked[0])]
        while rest and len(kept) < count:
            candidates, rest = rest[: count - len(kept)], rest[count - len(kept) :]
            drawn = iter(self.draw([check for column in candidates for check in column]))
            for candidate in candidates:
                full = list(islice(drawn, len(candidate)))
                (missed if passed(candidate) and not passed(full) else kept).append(full)
        return (kept + missed)[:count]

    def _judge(
        self, settings: DecodeSettings, seeds: list[int], image_embeds: Float[Tensor, "rows dim"]
    ) -> list[tuple[Image.Image, float | None]]:
        begin = time.perf_counter()
        images = self._decode(settings, seeds, image_embeds)
        decoded = time.perf_counter()
        self.report("check", 0, 1, None)
        validity = validity_of(self.checker, images, self.concept, self.reading)
        self.report("check", 1, 1, None)
        self.decode_s += decoded - begin
        self.check_s += time.perf_counter() - decoded
        return list(zip(images, validity, strict=True))

    def _decode(self, settings: DecodeSettings, seeds: list[int], image_embeds: Tensor) -> list[Image.Image]:
        rows, steps = list(zip(seeds, image_embeds, strict=True)), settings.num_inference_steps

        def on_step(first: int, last: int, step: int) -> None:
            self.report("decode", first * steps + step * (last - first), len(rows) * steps, None)

        return self.batcher.map(partial(decode, self.decoder, settings), rows, ("decode", settings), on_step)


def passed(column: list[Checked]) -> bool:
    """Whether all of it is of the concept."""
    return all(check.passed for check in column)


def decode(
    decoder: Decoder, settings: DecodeSettings, rows: list[tuple[int, Tensor]], tell: Callable[[int], None]
) -> list[Image.Image]:
    """The pictures of seeds and embeddings."""
    seeds, image_embeds = zip(*rows, strict=True)
    return decoder.decode(torch.stack(image_embeds), noise_of(list(seeds)), settings, lambda step, _: tell(step))
