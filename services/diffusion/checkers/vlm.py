"""Is a picture still of the concept? Asked in words of a vision-language model (arXiv 2601.22125)."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from transformers import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING, AutoConfig, AutoProcessor, ProcessorMixin

from services.diffusion.checkers.reading import Reading
from services.diffusion.runtime.checkpoint import described, load_model
from services.diffusion.runtime.fingerprint import Keep, anew, fingerprint_of

QUESTION = "Is the main subject of this picture still {} {}? Answer yes or no."
AN = re.compile(r"(?!eu|one|u[ks]|uni)[aeiou]|hon[eo]|hour", re.IGNORECASE)
BATCH = 8  # pictures at once: each can be thousands of tokens
EDGE = 256  # of the pictures of nothing


@dataclass(frozen=True, eq=False)
class VisionLanguageChecker:
    """P(yes) against P(no) as the first token of the answer; any image-text-to-text model of transformers'.

    `yes` and `no` are the tokens that either answer can begin with.
    """

    model: Any
    processor: Any
    yes: list[int]
    no: list[int]
    fingerprint: str

    @classmethod
    def load(
        cls, folder: Path, *, device: str, dtype: torch.dtype | None, keep: Keep = anew
    ) -> "VisionLanguageChecker":
        """Load a model, in `dtype` or its own, and its processor with a chat template; never code from the folder."""
        with described(f"the scorer in {folder}"):
            config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
            if type(config) not in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING:
                raise ValueError(f"{config.model_type} is no model that answers questions about pictures")
            processor = AutoProcessor.from_pretrained(folder, trust_remote_code=False)
            if not isinstance(processor, ProcessorMixin) or processor.chat_template is None:
                raise ValueError("there is no processor with a chat template")
            processor.tokenizer.padding_side = "left"
            yes, no = answer_tokens(processor.tokenizer)
            kind = MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING[type(config)]
            model = load_model(kind, folder, "", device, dtype or config.dtype or torch.float32)
            return cls(model, processor, yes, no, fingerprint_of(folder, keep=keep))

    def reading(self, concept: str) -> Reading:
        """The whole phrase, unless it is seen in a blank picture or in noise: then the answers say nothing."""
        seen = bool((self.p_valid(pictures_of_nothing(), concept) >= 0.5).any())
        return Reading(None, unknown=(concept,)) if seen else Reading(concept)

    @torch.no_grad()
    def p_valid(self, images: list[Image.Image], concept: str) -> Float[Tensor, "batch"]:
        """P(yes) / (P(yes) + P(no)) of each picture, at the model's own temperature."""
        text = question(without_control_tokens(self.processor.tokenizer, concept))
        size = 1 if self.processor.tokenizer.pad_token is None else BATCH
        batches = [images[start : start + size] for start in range(0, len(images), size)]
        logits = torch.cat([self.next_token_logits(batch, text) for batch in batches]).double()
        log_odds = logits[:, self.yes].logsumexp(-1) - logits[:, self.no].logsumexp(-1)
        return log_odds.sigmoid().cpu()

    def embed(self, _images: list[Image.Image]) -> None:
        """None: what it makes of a picture depends on the question."""

    @torch.no_grad()
    def next_token_logits(self, images: list[Image.Image], text: str) -> Float[Tensor, "batch vocabulary"]:
        """Logits of the first token of the answer to the same question about each picture."""
        inputs = self.processor.apply_chat_template(
            [chat(image, text) for image in images],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            processor_kwargs={"padding": len(images) > 1},
        ).to(self.model.device, self.model.dtype)
        one_token = {"max_new_tokens": 1, "do_sample": False, "use_cache": False}
        answer = self.model.generate(**inputs, **one_token, output_logits=True, return_dict_in_generate=True)
        logits: Tensor = answer.logits[0]
        return logits


def pictures_of_nothing() -> list[Image.Image]:
    """White, and noise."""
    noise = torch.randint(256, (EDGE, EDGE, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    return [Image.new("RGB", (EDGE, EDGE), "white"), Image.fromarray(noise.numpy())]


def question(concept: str) -> str:
    """The question with the article that the concept's first sound asks for."""
    return QUESTION.format("an" if AN.match(concept) else "a", concept)


def without_control_tokens(tokenizer: Any, text: str) -> str:
    """The text with a space for every token that is more than text, such as an image's place or the end of a turn."""
    for token in tokenizer.get_added_vocab():
        text = text.replace(token, " ")
    return text


def chat(image: Image.Image, text: str) -> list[dict[str, Any]]:
    """One user's message of a picture and a text."""
    return [{"role": "user", "content": [{"type": "image", "image": image}, {"type": "text", "text": text}]}]


def answer_tokens(tokenizer: Any) -> tuple[list[int], list[int]]:
    """Tokens that only "yes" begins with, and tokens that only "no" does; ValueError if either has none."""
    yes, no = (first_tokens(tokenizer, [word, word.title()]) for word in ("yes", "no"))
    if not (yes - no and no - yes):
        raise ValueError("its tokenizer begins yes and no with the same token")
    return sorted(yes - no), sorted(no - yes)


def first_tokens(tokenizer: Any, words: Iterable[str]) -> set[int]:
    """The token that each word begins with, bare and after a space, at the start of a text and of a line.

    Some tokenizers put a space before a text and none before a line, so that both places are needed for both forms.
    """
    found = set()
    for before in ("", "\n"):
        context = tokenizer.encode(before, add_special_tokens=False)
        for form in (space + word for word in words for space in ("", " ")):
            ids = tokenizer.encode(before + form, add_special_tokens=False)
            found |= set(ids[len(context) : len(context) + 1])
    return found - {tokenizer.unk_token_id}
