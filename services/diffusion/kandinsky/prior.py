"""Sampling the prior in guided steps, with gradient: as diffusers does, and several times faster."""

from collections.abc import Callable

import torch
from diffusers import PriorTransformer, UnCLIPScheduler
from diffusers.utils.torch_utils import randn_tensor
from jaxtyping import Bool, Float
from torch import Tensor

from services.diffusion.kandinsky.decoder import Generators, guide
from services.diffusion.kandinsky.encoding import Encoding
from services.diffusion.kandinsky.layout import Layout
from services.diffusion.kandinsky.lora import Factors
from services.diffusion.kandinsky.schedule import PRIOR_STEPS, Step, schedule_of
from services.diffusion.kandinsky.transformer import Past, Predictor, Transformer

START_STEP = 2  # a given picture enters the prior's steps here, half noise

Noise = Float[Tensor, "steps batch dim"]
Predict = Callable[[Tensor, int], Tensor]  # of latents, at the step of this number


class Sampler:
    """A frozen prior, and what of it is the same in every sample."""

    @torch.no_grad()
    def __init__(
        self, prior: PriorTransformer, scheduler: UnCLIPScheduler, guidance_scale: float, unconditional: Encoding
    ) -> None:
        self.prior, self.guidance_scale, self.unconditional = prior, guidance_scale, unconditional
        self.schedule: list[Step] = schedule_of(scheduler)
        self.transformer = Transformer(prior)
        timesteps = torch.tensor([step.timestep for step in self.schedule], device=prior.device)
        self.times = self.transformer.time(timesteps).split(1)
        self.past: Past = self.transformer.nothing(1)
        if self.guided:
            empty = unconditional.trimmed()
            x, layout = self.transformer.prompt(empty), Layout.of(empty.mask, 0, prior.dtype)
            self.past = self.transformer.run(x, self.past, layout)[1]

    @property
    def guided(self) -> bool:
        return self.guidance_scale > 1

    def steps(self, start: Float[Tensor, "dim"] | None) -> int:
        """How many there are, with a picture to start from or without."""
        return len(self.schedule) - (START_STEP if start is not None else 0)

    def noise(self, generators: Generators, batch: int, start: Float[Tensor, "dim"] | None = None) -> Noise:
        """The latents that `batch` samples begin with, and the noise of every step but the last.

        `start`, a picture's embedding, takes the place of the first START_STEP steps (SDEdit, arXiv 2108.01073).
        """
        steps, shape = self.schedule[-self.steps(start) :], (batch, self.prior.config.embedding_dim)
        drawn = [randn_tensor(shape, generators, self.prior.device, self.prior.dtype) for _ in steps]
        if start is not None:
            clean = (start.to(drawn[0]) - self.prior.clip_mean) / self.prior.clip_std
            drawn[0] = steps[0].enter(clean, drawn[0])
        return torch.stack(drawn)

    def layout(self, prompts: Bool[Tensor, "rows tokens"]) -> Layout:
        """The places of samples, for prompts of which these tokens count."""
        return Layout.of(prompts, self.past[0].shape[2], self.prior.dtype)

    def sample(self, prompts: Encoding, noise: Noise) -> Float[Tensor, "batch dim"]:
        """An image embedding for each row of noise, of one prompt or of as many."""
        prompts = prompts.trimmed()
        return self.sample_at(self.layout(prompts.mask), prompts, noise)

    def sample_at(
        self, layout: Layout, prompts: Encoding, noise: Noise, factors: list[Factors] | None = None
    ) -> Float[Tensor, "batch dim"]:
        """The same with prompts without padding, and without reading from the device, so that it can be one graph.

        A prompt that all rows share runs by itself.
        """
        batch, past, x = noise.shape[1], self.past, self.transformer.prompt(prompts)
        shared = len(x) < batch and factors is None
        if shared:
            past = self.transformer.run(x, past, layout)[1]
        past = [before.expand(batch, -1, -1, -1) for before in past]
        predictor = Predictor(self.transformer, layout, past, None if shared else x.expand(batch, -1, -1), factors)
        return self._denoise(lambda latents, number: predictor(latents, self.times[number]), noise)

    def sample_exactly(self, prompts: Encoding, noise: Noise) -> Float[Tensor, "batch dim"]:
        """The same to the bit as KandinskyPriorPipeline, whose unconditional rows go first."""
        batch = noise.shape[1]
        branches = [self.unconditional.expand(batch)] * self.guided + [prompts.expand(batch)]
        both = Encoding.cat(branches)

        def predict(latents: Tensor, number: int) -> Tensor:
            predicted: Tensor = self.prior(
                torch.cat([latents] * len(branches)),
                timestep=self.schedule[number].timestep,
                proj_embedding=both.text_embeds,
                encoder_hidden_states=both.hidden_states,
                attention_mask=both.mask,
            ).predicted_image_embedding
            return predicted

        return self._denoise(predict, noise)

    def _denoise(self, predict: Predict, noise: Noise) -> Float[Tensor, "batch dim"]:
        """PRIOR_STEPS steps of unCLIP's prior (arXiv 2204.06125), or as many as there is noise for."""
        latents, *fresh = noise
        for number, more in enumerate([*fresh, None], start=PRIOR_STEPS - len(noise)):
            predicted = predict(latents, number)
            if self.guided:
                predicted = guide(predicted, self.guidance_scale)
            latents = self.schedule[number](predicted, latents, more)
        image_embeds: Tensor = self.prior.post_process_latents(latents)
        return image_embeds
