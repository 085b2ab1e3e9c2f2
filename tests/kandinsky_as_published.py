"""A tiny random Kandinsky 2.1, file by file as its two repositories have it: kandinsky-2-1-prior and kandinsky-2-1.

kandinsky_as_published.json has the documents in them, word for word but for what is not read.
"""

import json
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from services.diffusion.kandinsky.multilingual_clip import MultilingualCLIP
from tests.benchmarks.kandinsky_2_1 import TINY, clip_tokenizer

from diffusers import PriorTransformer, UNet2DConditionModel, VQModel  # isort: skip
from transformers import CLIPTextConfig, CLIPTextModelWithProjection, CLIPVisionConfig  # isort: skip
from transformers import CLIPVisionModelWithProjection, XLMRobertaConfig, XLMRobertaTokenizer  # isort: skip

PRIOR, DECODER = "kandinsky-2-1-prior", "kandinsky-2-1"
PICKLE = b"\x80\x04a pickle, which nobody is to read"
DIM, EDGE = TINY.prior["embedding_dim"], TINY.image_encoder["image_size"]
PATCHES = (EDGE // TINY.image_encoder["patch_size"]) ** 2
XLM_ROBERTA = {"hidden_size": DIM, "intermediate_size": 2 * DIM, "num_attention_heads": 2, "num_hidden_layers": 1}
XLM_ROBERTA |= {"vocab_size": 8, "numDims": DIM, "transformerDimensions": DIM}
SIZES = {
    f"{PRIOR}/text_encoder/config.json": TINY.text_encoder,
    f"{PRIOR}/image_encoder/config.json": TINY.image_encoder,
    f"{PRIOR}/image_processor/preprocessor_config.json": {"size": EDGE, "crop_size": EDGE},
    f"{DECODER}/text_encoder/config.json": XLM_ROBERTA,
}
DOCUMENTS = {
    path: document | SIZES.get(path, {})
    for path, document in json.loads(Path(__file__).with_suffix(".json").read_text()).items()
}
TRANSFORMERS: dict[str, tuple[Callable[[dict[str, object]], nn.Module], str, int]] = {
    f"{PRIOR}/text_encoder": (lambda c: CLIPTextModelWithProjection(CLIPTextConfig(**c)), "text_model", 77),
    f"{PRIOR}/image_encoder": (
        lambda c: CLIPVisionModelWithProjection(CLIPVisionConfig(**c)),
        "vision_model",
        PATCHES + 1,
    ),
    f"{DECODER}/text_encoder": (lambda c: MultilingualCLIP(XLMRobertaConfig(**c)), "transformer", 514),
}
DIFFUSERS: dict[str, Callable[[], nn.Module]] = {
    f"{PRIOR}/prior": lambda: PriorTransformer(**TINY.prior),
    f"{DECODER}/unet": lambda: UNet2DConditionModel(**TINY.unet | {"sample_size": 16}),
    f"{DECODER}/movq": lambda: VQModel(**TINY.movq),
}


def write_published(folder: Path) -> None:
    """Both repositories, in folders of their names, float32 in safetensors beside pickles."""
    torch.manual_seed(0)
    for path, document in DOCUMENTS.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(json.dumps(document, indent=2))
    write_tokenizers(folder)
    for path, (make, trunk, places) in TRANSFORMERS.items():
        weights = random_weights(make(DOCUMENTS[f"{path}/config.json"]))
        weights[f"{trunk}.embeddings.position_ids"] = torch.arange(places)[None]  # a buffer that was stored once
        save_file(weights, folder / path / "model.safetensors", {"format": "pt"})
        (folder / path / "pytorch_model.bin").write_bytes(PICKLE)
    for path, make in DIFFUSERS.items():
        module = make()
        module.save_config(folder / path)
        save_file(random_weights(module), folder / path / "diffusion_pytorch_model.safetensors", {"format": "pt"})
        (folder / path / "diffusion_pytorch_model.bin").write_bytes(PICKLE)


def write_tokenizers(folder: Path) -> None:
    """CLIP's vocabulary in the two files of before tokenizer.json; XLM-R's of no words, for the empty prompt alone."""
    model = json.loads(clip_tokenizer(77).backend_tokenizer.to_str())["model"]
    (folder / PRIOR / "tokenizer/vocab.json").write_text(json.dumps(model["vocab"]))
    merges = "".join(" ".join(pair) + "\n" for pair in model["merges"])
    (folder / PRIOR / "tokenizer/merges.txt").write_text(f"#version: 0.2\n{merges}")
    XLMRobertaTokenizer().backend_tokenizer.save(str(folder / DECODER / "tokenizer/tokenizer.json"))


def random_weights(module: nn.Module) -> dict[str, torch.Tensor]:
    """All off their defaults, zeros above all, so that no part of the model is without effect."""
    weights = {name: value + 0.05 * torch.randn_like(value) for name, value in module.state_dict().items()}
    if "clip_std" in weights:
        weights["clip_std"] = 1 + weights["clip_std"].abs()
    return weights
