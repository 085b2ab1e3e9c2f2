"""A small random checkpoint with every class and file of the real ones, made once per session."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from services.diffusion.checkers.open_clip import OpenClipChecker
from services.diffusion.density.fit import Report, fit_density
from services.diffusion.density.model import DensityModel
from services.diffusion.density.subject import Subject
from services.diffusion.generate import Generation, generate
from services.diffusion.kandinsky.model import Kandinsky
from services.diffusion.replay import GenerationConfig
from services.diffusion.run import Run
from services.diffusion.steering.clusters import UNSTEERED, Steering
from services.texts.concepts import DEFAULT_PROMPT
from tests.benchmarks.kandinsky_2_1 import clip_tokenizer

import open_clip  # isort: skip
from diffusers import DDIMScheduler, PriorTransformer, UnCLIPScheduler, UNet2DConditionModel, VQModel  # isort: skip
from transformers import CLIPImageProcessor, CLIPTextConfig, CLIPTextModelWithProjection  # isort: skip
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection  # isort: skip

DIM, TOKENS = 16, 32
SUBJECT = Subject("handbag", DEFAULT_PROMPT)


def silent(_phase: str, _step: int, _steps: int, _bits: float | None) -> None:
    """A report that goes nowhere."""


def randomise(module: nn.Module, scale: float, seed: int) -> nn.Module:
    """Move every weight off its default, zeros above all, so that no part of the model is without effect."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(scale * torch.randn(parameter.shape, generator=generator))
    return module


def write_prior(folder: Path) -> None:
    tokenizer = clip_tokenizer(TOKENS)
    tokenizer.save_pretrained(folder / "tokenizer")
    text = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=DIM,
        intermediate_size=32,
        projection_dim=DIM,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=TOKENS,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=tokenizer.bos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    randomise(CLIPTextModelWithProjection(text), 0.1, 1).save_pretrained(folder / "text_encoder")
    prior = PriorTransformer(
        num_attention_heads=2, attention_head_dim=16, num_layers=2, embedding_dim=DIM, num_embeddings=TOKENS
    )
    randomise(prior, 0.1, 2)
    prior.clip_std.data.abs_().add_(1.0)
    prior.save_pretrained(folder / "prior")
    UnCLIPScheduler(prediction_type="sample", clip_sample_range=10.0).save_pretrained(folder / "scheduler")
    vision = CLIPVisionConfig(
        hidden_size=DIM,
        intermediate_size=32,
        projection_dim=DIM,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=16,
        patch_size=8,
    )
    randomise(CLIPVisionModelWithProjection(vision), 0.1, 8).save_pretrained(folder / "image_encoder")
    edges = {"size": {"shortest_edge": 16}, "crop_size": {"height": 16, "width": 16}}
    CLIPImageProcessor(**edges).save_pretrained(folder / "image_processor")


def write_decoder(folder: Path) -> None:
    unet = UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=8,
        block_out_channels=(32, 32),
        layers_per_block=1,
        down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
        mid_block_type="UNetMidBlock2DSimpleCrossAttn",
        up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
        attention_head_dim=16,
        cross_attention_dim=DIM,
        encoder_hid_dim=DIM,
        encoder_hid_dim_type="text_image_proj",
        addition_embed_type="text_image",
        resnet_time_scale_shift="scale_shift",
    )
    randomise(unet, 0.02, 3).save_pretrained(folder / "unet")
    movq = VQModel(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(32,) * 4,
        layers_per_block=1,
        latent_channels=4,
        num_vq_embeddings=16,
        norm_type="spatial",
    )
    randomise(movq, 0.02, 4).save_pretrained(folder / "movq")
    DDIMScheduler(
        beta_schedule="squaredcos_cap_v2",
        prediction_type="v_prediction",
        clip_sample=False,
        timestep_spacing="trailing",
    ).save_pretrained(folder / "scheduler")
    (folder / "defaults.json").write_text(json.dumps({"num_inference_steps": 3, "guidance_scale": 3.0}))
    generator = torch.Generator().manual_seed(5)
    shapes = {"prompt_embeds": (1, DIM), "text_encoder_hidden_states": (1, 1, DIM), "negative_image_embeds": (1, DIM)}
    constants = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    save_file(constants, folder / "constants.safetensors")


def write_scorer(folder: Path) -> None:
    config = {
        "embed_dim": 8,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 16, "head_width": 8, "patch_size": 16},
        "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
    }
    folder.mkdir()
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": {}}))
    model = open_clip.model.CLIP(**config)
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    words = {"nouns": ["handbag", "chair"], "nothing": "nothing recognisable"}
    (folder / "nouns.json").write_text(json.dumps(words))


def load(folder: Path) -> Kandinsky:
    return Kandinsky.load(str(folder / "prior"), str(folder / "decoder"), device="cpu", dtype=torch.float32)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with prior/, decoder/ and scorer/."""
    folder = tmp_path_factory.mktemp("checkpoint")
    torch.manual_seed(0)
    write_prior(folder / "prior")
    (folder / "decoder").mkdir()
    write_decoder(folder / "decoder")
    write_scorer(folder / "scorer")
    return folder


@pytest.fixture(scope="session")
def model(checkpoint: Path) -> Kandinsky:
    return load(checkpoint)


@pytest.fixture(scope="session")
def checker(checkpoint: Path) -> OpenClipChecker:
    return OpenClipChecker.load(str(checkpoint / "scorer"), device="cpu")


@pytest.fixture(scope="session")
def density(model: Kandinsky) -> DensityModel:
    return fit_density(model, SUBJECT, samples=1000, seed=0, report=silent)


@pytest.fixture
def run(model: Kandinsky, density: DensityModel, checker: OpenClipChecker) -> Callable[..., Generation]:
    """`generate` with a small config, any part of which can be given, and whatever else it takes."""
    small = {"target_bits": 6.6, "steps": 8, "trials": 1, "seed": 0}

    def run(report: Report = silent, steering: Steering = UNSTEERED, **own: object) -> Generation:
        return generate(Run(model, density, checker, SUBJECT, GenerationConfig(**small | own), steering), report)

    return run


@pytest.fixture
def copied(checkpoint: Path, tmp_path: Path) -> Path:
    """A copy of the checkpoint, to break."""
    return Path(shutil.copytree(checkpoint, tmp_path / "copied"))
