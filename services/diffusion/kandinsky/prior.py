"""Sampling the prior in guided steps, with gradient: as diffusers does, and several times faster."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from diffusers import PriorTransformer, UnCLIPScheduler
from diffusers.utils.torch_utils import randn_tensor
from jaxtyping import Bool, Float
from torch import Tensor

from services.bounds import STRENGTH
from services.diffusion.kandinsky.decoder import Generators, guide
from services.diffusion.kandinsky.encoding import Encoding
from services.diffusion.kandinsky.layout import Layout
from services.diffusion.kandinsky.lora import Factors
from services.diffusion.kandinsky.schedule import VARIATION_STEPS, Step, schedule_of, variation_of
from services.diffusion.kandinsky.transformer import Past, Predictor, Transformer

Noise = Float[Tensor, "steps batch dim"]
Predict = Callable[[Tensor, int], Tensor]  # of latents, at the step of this number


@dataclass(frozen=True, eq=False)
class Schedule:
    """Steps, the noisiest first, and the embeddings of their timesteps, (1, width) each."""

    steps: list[Step]
    times: tuple[Tensor, ...]

    @property
    def timesteps(self) -> tuple[int, ...]:
        """Equal for schedules that are the same."""
        return tuple(step.timestep for step in self.steps)

    @property
    def pace(self) -> float:
        """Of a learning rate, what is left where samples scatter little: the variance of less than half noise, doubled.

        Longer steps jump over the shell and back: from the least noise with the root of this to 300 bits at first.
        """
        return min(1.0, 2 * (1 - self.steps[0].signal))


class Sampler:
    """A frozen prior, and what of it is the same in every sample."""

    @torch.no_grad()
    def __init__(
        self, prior: PriorTransformer, scheduler: UnCLIPScheduler, guidance_scale: float, unconditional: Encoding
    ) -> None:
        self.prior, self.guidance_scale, self.unconditional = prior, guidance_scale, unconditional
        self.scheduler, self.transformer = scheduler, Transformer(prior)
        self.whole = self._timed(schedule_of(scheduler))
        self.past: Past = self.transformer.nothing(1)
        if self.guided:
            empty = unconditional.trimmed()
            x, layout = self.transformer.prompt(empty), Layout.of(empty.mask, 0, prior.dtype)
            self.past = self.transformer.run(x, self.past, layout)[1]

    @property
    def guided(self) -> bool:
        return self.guidance_scale > 1

    def schedule(self, start: Float[Tensor, "dim"] | None, strength: float = STRENGTH) -> Schedule:
        """The whole, or what a picture to start from leaves of it: with STRENGTH to the bit the whole's last steps."""
        if start is None:
            return self.whole
        if strength == STRENGTH:
            return Schedule(self.whole.steps[-VARIATION_STEPS:], self.whole.times[-VARIATION_STEPS:])
        return self._timed(variation_of(self.scheduler, strength))

    @torch.no_grad()
    def _timed(self, steps: list[Step]) -> Schedule:
        timesteps = torch.tensor([step.timestep for step in steps], device=self.prior.device)
        return Schedule(steps, self.transformer.time(timesteps).split(1))

    def noise(
        self,
        generators: Generators,
        batch: int,
        start: Float[Tensor, "dim"] | None = None,
        schedule: Schedule | None = None,
    ) -> Noise:
        """The latents that `batch` samples begin with, and the noise of every step but the last.

        `start`, a picture's embedding, is made as noisy as latents are at the schedule's first step (SDEdit, arXiv
        2108.01073).
        """
        steps = (schedule or self.schedule(start)).steps
        shape = (batch, self.prior.config.embedding_dim)
        drawn = [randn_tensor(shape, generators, self.prior.device, self.prior.dtype) for _ in steps]
        if start is not None:
            clean = (start.to(drawn[0]) - self.prior.clip_mean) / self.prior.clip_std
            drawn[0] = steps[0].enter(clean, drawn[0])
        return torch.stack(drawn)

    def layout(self, prompts: Bool[Tensor, "rows tokens"]) -> Layout:
        """The places of samples, for prompts of which these tokens count."""
        return Layout.of(prompts, self.past[0].shape[2], self.prior.dtype)

    def sample(self, prompts: Encoding, noise: Noise, schedule: Schedule | None = None) -> Float[Tensor, "batch dim"]:
        """An image embedding for each row of noise, of one prompt or of as many, by the whole schedule or another."""
        prompts = prompts.trimmed()
        return self.sample_at(self.layout(prompts.mask), prompts, noise, schedule=schedule)

    def sample_at(
        self,
        layout: Layout,
        prompts: Encoding,
        noise: Noise,
        factors: list[Factors] | None = None,
        schedule: Schedule | None = None,
    ) -> Float[Tensor, "batch dim"]:
        """The same with prompts without padding, and without reading from the device, so that it can be one graph.

        A prompt that all rows share runs by itself.
        """
        batch, past, x = noise.shape[1], self.past, self.transformer.prompt(prompts)
        schedule = schedule or self.whole
        shared = len(x) < batch and factors is None
        if shared:
            past = self.transformer.run(x, past, layout)[1]
        past = [before.expand(batch, -1, -1, -1) for before in past]
        predictor = Predictor(self.transformer, layout, past, None if shared else x.expand(batch, -1, -1), factors)
        return self._denoise(lambda latents, number: predictor(latents, schedule.times[number]), noise, schedule)

    def sample_exactly(
        self, prompts: Encoding, noise: Noise, schedule: Schedule | None = None
    ) -> Float[Tensor, "batch dim"]:
        """The same to the bit as KandinskyPriorPipeline, whose unconditional rows go first."""
        batch, schedule = noise.shape[1], schedule or self.whole
        branches = [self.unconditional.expand(batch)] * self.guided + [prompts.expand(batch)]
        both = Encoding.cat(branches)

        def predict(latents: Tensor, number: int) -> Tensor:
            predicted: Tensor = self.prior(
                torch.cat([latents] * len(branches)),
                timestep=schedule.steps[number].timestep,
                proj_embedding=both.text_embeds,
                encoder_hidden_states=both.hidden_states,
                attention_mask=both.mask,
            ).predicted_image_embedding
            return predicted

        return self._denoise(predict, noise, schedule)

    def _denoise(self, predict: Predict, noise: Noise, schedule: Schedule) -> Float[Tensor, "batch dim"]:
        """The steps of unCLIP's prior (arXiv 2204.06125)."""
        latents, *fresh = noise
        for number, more in enumerate([*fresh, None]):
            predicted = predict(latents, number)
            if self.guided:
                predicted = guide(predicted, self.guidance_scale)
            latents = schedule.steps[number](predicted, latents, more)
        image_embeds: Tensor = self.prior.post_process_latents(latents)
        return image_embeds
