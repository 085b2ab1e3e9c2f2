"""Put the trained parts together as `rarebit-mini`: folders like kandinsky-2-1-prior and kandinsky-2-1, in float16.

All but the image encoder, which `train_vision.py` trains on the finished checkpoint and writes there.
"""

import argparse
import json
import shutil
from pathlib import Path

import numpy as np
import torch
from diffusers import DDIMScheduler, PriorTransformer, UNet2DConditionModel, VQModel
from safetensors.torch import save_file
from sklearn.cluster import MiniBatchKMeans
from transformers import CLIPImageProcessor, CLIPTextModelWithProjection, CLIPTokenizer

from deploy.checkpoints.scorer import FILES as SCORER
from deploy.checkpoints.train_guidance import GUIDANCE
from deploy.checkpoints.train_space import DIM
from deploy.checkpoints.train_unet import SCHEDULER
from deploy.checkpoints.train_vision import CONFIG as VISION

# What the decoder folder holds beside its parts: XLM-R's output for "" and the embedding of the unconditional branch.
CONSTANTS = {
    "prompt_embeds": torch.zeros(1, DIM),
    "text_encoder_hidden_states": torch.zeros(1, 1, DIM),
    "negative_image_embeds": torch.zeros(1, DIM),
}
SPACE = "rarebit-mini-256"  # refuses parts of another model, whose dimension may be the same
DECODER_DEFAULTS = {
    "num_inference_steps": 8,
    "guidance_scale": GUIDANCE,
    "guidance_learnt": True,
    "space": SPACE,
    "candidate": {"size": 256, "num_inference_steps": 8},  # in full: fewer steps leave half of the time, MoVQ's
}
PRIOR_INDEX = {
    "_class_name": "KandinskyPriorPipeline",
    "image_encoder": ["transformers", "CLIPVisionModelWithProjection"],
    "image_processor": ["transformers", "CLIPImageProcessor"],
    "prior": ["diffusers", "PriorTransformer"],
    "scheduler": ["diffusers", "UnCLIPScheduler"],
    "text_encoder": ["transformers", "CLIPTextModelWithProjection"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
}
DECODER_INDEX = {
    "_class_name": "KandinskyPipeline",
    "movq": ["diffusers", "VQModel"],
    "scheduler": ["diffusers", "DDIMScheduler"],
    "text_encoder": [None, None],
    "tokenizer": [None, None],
    "unet": ["diffusers", "UNet2DConditionModel"],
}


def export_prior(run: Path, out: Path) -> None:
    CLIPTextModelWithProjection.from_pretrained(run / "text" / "text_encoder").half().save_pretrained(
        out / "text_encoder"
    )
    PriorTransformer.from_pretrained(run / "prior" / "prior").half().save_pretrained(out / "prior")
    shutil.copytree(run / "prior" / "scheduler", out / "scheduler", dirs_exist_ok=True)
    CLIPTokenizer.from_pretrained(run / "text" / "tokenizer").save_pretrained(out / "tokenizer")
    edge = VISION.image_size
    processor = CLIPImageProcessor(size={"shortest_edge": edge}, crop_size={"height": edge, "width": edge})
    processor.save_pretrained(out / "image_processor")
    (out / "model_index.json").write_text(json.dumps(PRIOR_INDEX, indent=2) + "\n")
    (out / "defaults.json").write_text(json.dumps({"guidance_scale": 1.5, "space": SPACE}) + "\n")


def export_decoder(run: Path, out: Path) -> None:
    UNet2DConditionModel.from_pretrained(run / "guidance" / "unet").half().save_pretrained(out / "unet")
    movq = VQModel.from_pretrained(run / "movq")
    fill_codebook(movq, np.load(run / "latents" / "latents.npz")["latents"])
    movq.half().save_pretrained(out / "movq")
    DDIMScheduler(**SCHEDULER).save_pretrained(out / "scheduler")
    save_file(CONSTANTS, out / "constants.safetensors")
    (out / "model_index.json").write_text(json.dumps(DECODER_INDEX, indent=2) + "\n")
    (out / "defaults.json").write_text(json.dumps(DECODER_DEFAULTS) + "\n")


def fill_codebook(movq: VQModel, latents: np.ndarray) -> None:
    """Cluster centres of the latents: quantised decoding, which the pipelines never ask for, works too."""
    codes = latents.transpose(0, 2, 3, 1).reshape(-1, latents.shape[1]).astype(np.float32)
    rows = np.random.default_rng(0).choice(len(codes), 100_000)
    centres = (
        MiniBatchKMeans(len(movq.quantize.embedding.weight), random_state=0, n_init=1).fit(codes[rows]).cluster_centers_
    )
    movq.quantize.embedding.weight.data.copy_(torch.from_numpy(centres))


def forget_paths(out: Path) -> None:
    """Drop the folder that a part was loaded from out of its configuration."""
    for path in out.rglob("config.json"):
        config = json.loads(path.read_text())
        config.pop("_name_or_path", None)
        path.write_text(json.dumps(config, indent=2) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, required=True, help="folder of the training steps' outputs")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "rarebit-mini")
    args = parser.parse_args()
    for folder in ("prior", "decoder", "scorer"):
        (args.out / folder).mkdir(parents=True, exist_ok=True)
    export_prior(args.run, args.out / "prior")
    export_decoder(args.run, args.out / "decoder")
    if (args.run / "scorer").exists():  # not on a machine that a pack was brought to
        for name in SCORER:
            shutil.copy(args.run / "scorer" / name, args.out / "scorer")
    forget_paths(args.out)


if __name__ == "__main__":
    main()
