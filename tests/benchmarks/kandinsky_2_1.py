"""What kandinsky-2-1-prior and kandinsky-2-1 are built of, and the same parts at a size for tests.

The U-Net and MoVQ are as diffusers' convert_kandinsky_to_diffusers.py has them, the prior has PriorTransformer's
defaults, the encoders are CLIP ViT-L/14 and XLM-RoBERTa large with M-CLIP's projection.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from services.diffusion.kandinsky.decoder import Constants, Decoder, DecodeSettings
from services.diffusion.kandinsky.model import Kandinsky

from diffusers import DDIMScheduler, PriorTransformer, UnCLIPScheduler, UNet2DConditionModel, VQModel  # isort: skip
from open_clip.tokenizer import SimpleTokenizer  # isort: skip
from transformers import CLIPImageProcessor, CLIPTextConfig, CLIPTextModelWithProjection, CLIPTokenizer  # isort: skip
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection  # isort: skip

DTYPE = torch.bfloat16
TOKENS = 77

Config = dict[str, Any]


@dataclass(frozen=True)
class Parts:
    """Arguments for PriorTransformer, CLIP's two encoders, UNet2DConditionModel and VQModel: what stays loaded."""

    prior: Config
    text_encoder: Config
    image_encoder: Config
    unet: Config
    movq: Config


UNET_BLOCKS: Config = {
    "down_block_types": ("ResnetDownsampleBlock2D", *["SimpleCrossAttnDownBlock2D"] * 3),
    "mid_block_type": "UNetMidBlock2DSimpleCrossAttn",
    "up_block_types": (*["SimpleCrossAttnUpBlock2D"] * 3, "ResnetUpsampleBlock2D"),
    "in_channels": 4,
    "out_channels": 8,
    "encoder_hid_dim_type": "text_image_proj",
    "addition_embed_type": "text_image",
    "resnet_time_scale_shift": "scale_shift",
}
MOVQ_BLOCKS: Config = {
    "down_block_types": (*["DownEncoderBlock2D"] * 3, "AttnDownEncoderBlock2D"),
    "up_block_types": ("AttnUpDecoderBlock2D", *["UpDecoderBlock2D"] * 3),
    "latent_channels": 4,
    "vq_embed_dim": 4,
    "norm_type": "spatial",
}

PUBLISHED = Parts(
    prior={"num_attention_heads": 32, "attention_head_dim": 64, "num_layers": 20, "embedding_dim": 768},
    text_encoder={
        "hidden_size": 768,
        "intermediate_size": 3072,
        "projection_dim": 768,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
    },
    image_encoder={
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "projection_dim": 768,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "image_size": 224,
        "patch_size": 14,
    },
    unet=UNET_BLOCKS
    | {
        "sample_size": 64,
        "block_out_channels": (384, 768, 1152, 1536),
        "layers_per_block": 3,
        "attention_head_dim": 64,
        "cross_attention_dim": 768,
        "encoder_hid_dim": 1024,
    },
    movq=MOVQ_BLOCKS | {"block_out_channels": (128, 256, 256, 512), "layers_per_block": 2, "num_vq_embeddings": 16384},
)

# The encoder that runs once and never again.
XLM_ROBERTA: Config = {
    "transformerDimensions": 1024,
    "numDims": 768,
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "vocab_size": 250002,
    "max_position_embeddings": 514,
    "type_vocab_size": 1,
    "layer_norm_eps": 1e-5,
}

TINY = Parts(
    prior={"num_attention_heads": 2, "attention_head_dim": 16, "num_layers": 2, "embedding_dim": 32},
    text_encoder={
        "hidden_size": 32,
        "intermediate_size": 64,
        "projection_dim": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    },
    image_encoder={
        "hidden_size": 32,
        "intermediate_size": 64,
        "projection_dim": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 32,
        "patch_size": 16,
    },
    unet=UNET_BLOCKS
    | {
        "sample_size": 8,
        "block_out_channels": (32, 32, 32, 32),
        "layers_per_block": 1,
        "attention_head_dim": 16,
        "cross_attention_dim": 32,
        "encoder_hid_dim": 32,
    },
    movq=MOVQ_BLOCKS | {"block_out_channels": (32, 32, 32, 32), "layers_per_block": 1, "num_vq_embeddings": 16},
)


@torch.no_grad()
def build(parts: Parts, device: str) -> Kandinsky:
    """The whole with random weights, made on the device."""
    tokenizer = clip_tokenizer(TOKENS)
    ids = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    text_config = CLIPTextConfig(**parts.text_encoder, **ids)
    return Kandinsky(
        tokenizer=tokenizer,
        text_encoder=made(device, lambda: CLIPTextModelWithProjection(text_config)),
        image_processor=CLIPImageProcessor(),
        image_encoder=made(device, lambda: CLIPVisionModelWithProjection(CLIPVisionConfig(**parts.image_encoder))),
        prior=random_prior(parts, device),
        scheduler=UnCLIPScheduler(prediction_type="sample", clip_sample_range=10.0),
        decoder=random_decoder(parts, device),
        guidance_scale=4.0,
        fingerprint="random",
    )


def clip_tokenizer(length: int) -> CLIPTokenizer:
    """CLIP's own, from the vocabulary that open_clip ships, for prompts of `length` tokens."""
    bpe = SimpleTokenizer()
    special = {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}
    vocab = {special.get(word, word): number for word, number in bpe.encoder.items()}
    return CLIPTokenizer(vocab=vocab, merges=list(bpe.bpe_ranks), model_max_length=length)


def random_prior(parts: Parts, device: str) -> PriorTransformer:
    """A fresh one has zeros for positions and for the scale of its output, so that every sample would be the same."""
    prior = made(device, lambda: PriorTransformer(**parts.prior))
    generator = torch.Generator(device).manual_seed(0)
    for parameter in (p for p in prior.parameters() if not p.any()):
        parameter.normal_(std=0.02, generator=generator)
    prior.clip_std.fill_(0.4)
    return prior


def random_decoder(parts: Parts, device: str) -> Decoder:
    """Its constants are of the shapes that the encoders of a full-size checkpoint give."""
    dim, width = parts.prior["embedding_dim"], parts.unet["encoder_hid_dim"]
    normal = partial(torch.randn, generator=torch.Generator(device).manual_seed(0), device=device, dtype=DTYPE)
    return Decoder(
        unet=made(device, lambda: UNet2DConditionModel(**parts.unet)),
        movq=made(device, lambda: VQModel(**parts.movq)),
        scheduler=DDIMScheduler(beta_start=0.00085, beta_end=0.012, clip_sample=False, set_alpha_to_one=False),
        constants=Constants(normal(1, dim), normal(1, TOKENS, width), normal(1, dim)),
        defaults=DecodeSettings(8 * parts.unet["sample_size"], 50, 7.5),
        candidate=DecodeSettings(max(64, 6 * parts.unet["sample_size"]), 10, 7.5),
    )


def made(device: str, make: Callable[[], Any]) -> Any:
    """A frozen part on the device; float32 only until it is complete."""
    with torch.device(device):
        return make().to(DTYPE).eval().requires_grad_(False)
