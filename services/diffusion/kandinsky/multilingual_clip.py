"""M-CLIP, the XLM-R that Kandinsky 2.1's decoder reads prompts with: run on the empty one, and never again."""

from pathlib import Path

import torch
from jaxtyping import Float, Int
from safetensors.torch import load, save
from torch import Tensor, nn
from transformers import AutoTokenizer, PreTrainedModel, XLMRobertaConfig, XLMRobertaModel

from services.diffusion.runtime.checkpoint import described, load_config, load_model
from services.diffusion.runtime.fingerprint import Keep

TOKENS = 77


class MultilingualCLIP(PreTrainedModel):  # type: ignore[misc]
    """XLM-R and a projection of the mean over its tokens, named as their weights are; XLM-R's pooler has no part."""

    config_class = XLMRobertaConfig

    def __init__(self, config: XLMRobertaConfig) -> None:
        super().__init__(config)
        self.transformer = XLMRobertaModel(config, add_pooling_layer=False)
        self.LinearTransformation = nn.Linear(config.transformerDimensions, config.numDims)
        self.post_init()

    def forward(
        self, input_ids: Int[Tensor, "batch tokens"], attention_mask: Int[Tensor, "batch tokens"]
    ) -> tuple[Float[Tensor, "batch dim"], Float[Tensor, "batch tokens width"]]:
        """The text's embedding, and the hidden state of each token."""
        hidden_states = self.transformer(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        mean = (hidden_states * attention_mask[..., None]).sum(1) / attention_mask.sum(1, keepdim=True)
        return self.LinearTransformation(mean), hidden_states


def empty_prompt(folder: Path, keep: Keep, fingerprint: str) -> dict[str, Tensor]:
    """What `encode_empty_prompt` gives, or what `keep` has of it from the last time."""
    return keep(f"empty-prompts/{fingerprint}", lambda: save(encode_empty_prompt(folder)), _read)


@torch.no_grad()
def encode_empty_prompt(folder: Path) -> dict[str, Tensor]:
    """`prompt_embeds` (1, dim) and `text_encoder_hidden_states` (1, TOKENS, width), float32, of folder/text_encoder.

    Made on the CPU, which takes seconds. CheckpointError when that or folder/tokenizer cannot be loaded.
    """
    tokenizer = load_config(AutoTokenizer, folder, "tokenizer")
    encoder = load_model(MultilingualCLIP, folder, "text_encoder", "cpu", torch.float32)
    empty = tokenizer("", padding="max_length", max_length=TOKENS, return_tensors="pt")
    prompt_embeds, hidden_states = encoder(empty.input_ids, empty.attention_mask)
    return {"prompt_embeds": prompt_embeds, "text_encoder_hidden_states": hidden_states}


def _read(kept: bytes) -> dict[str, Tensor]:
    with described("the empty prompt that was kept"):
        values = load(kept)
        return {name: values[name] for name in ("prompt_embeds", "text_encoder_hidden_states")}
