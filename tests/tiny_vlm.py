"""Vision-language models of transformers' own kinds, as small as they can be, of random weights."""

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers.processors import TemplateProcessing

from services.diffusion.checkers.vlm import question

from transformers import CLIPVisionConfig, LlamaConfig, PreTrainedTokenizerFast  # isort: skip
from transformers import Idefics3Config, Idefics3ForConditionalGeneration  # isort: skip
from transformers import Idefics3ImageProcessor, Idefics3Processor  # isort: skip
from transformers import LlavaNextConfig, LlavaNextForConditionalGeneration  # isort: skip
from transformers import LlavaNextImageProcessor, LlavaNextProcessor  # isort: skip
from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration  # isort: skip
from transformers import Qwen2VLImageProcessor, Qwen2VLProcessor, Qwen2VLVideoProcessor  # isort: skip

SPECIAL = [
    "<unk>",
    "<s>",
    "</s>",
    "<pad>",
    "<image>",
    "<fake_token_around_image>",
    "<global-img>",
    "<end_of_utterance>",
]
SPECIAL += [f"<|{name}|>" for name in ("vision_start", "vision_end", "image_pad", "video_pad")]
LAYERS = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
TEXTS = [question(c) for c in ("car", "umbrella", "chair", "teapot")] + [
    "USER:\nASSISTANT: yes Yes no No yes Yes no No"
]
TEMPLATE = (
    "{{% for message in messages %}}USER:{{% for part in message.content %}}"
    "{{% if part.type == 'image' %}}{image}{{% else %}}{{{{ part.text }}}}{{% endif %}}"
    "{{% endfor %}}{{% endfor %}}{{% if add_generation_prompt %}}\nASSISTANT:{{% endif %}}"
)


def byte_level() -> Tokenizer:
    """As Qwen's: a space belongs to the word behind it, and none is put before a text."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def metaspace() -> Tokenizer:
    """As Llama's: a space is put before the text and nowhere else."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("▁+[^▁\n]*|\n"), "isolated")
    return tokenizer


def trained(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    tokenizer.train_from_iterator(TEXTS * 4, trainers.BpeTrainer(vocab_size=400, special_tokens=SPECIAL))
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )


def llava_next() -> tuple:
    tokenizer = trained(metaspace())
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    config = LlavaNextConfig(
        vision_config=CLIPVisionConfig(**LAYERS, image_size=16, patch_size=8),
        text_config=LlamaConfig(**LAYERS, vocab_size=len(tokenizer)),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        image_grid_pinpoints=[[16, 32], [32, 16], [32, 32]],
    )
    processor = LlavaNextProcessor(
        LlavaNextImageProcessor(
            size={"shortest_edge": 16},
            crop_size={"height": 16, "width": 16},
            image_grid_pinpoints=config.image_grid_pinpoints,
        ),
        tokenizer,
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=TEMPLATE.format(image="<image>"),
    )
    return LlavaNextForConditionalGeneration(config), processor


def qwen2_vl() -> tuple:
    tokenizer = trained(byte_level())
    ids = {
        f"{name}_token_id": tokenizer.convert_tokens_to_ids(f"<|{name}|>") for name in ("vision_start", "vision_end")
    }
    config = Qwen2VLConfig(
        text_config=LAYERS
        | {
            "vocab_size": len(tokenizer),
            "num_key_value_heads": 2,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 3, 3]},
        },
        vision_config={"depth": 2, "embed_dim": 16, "hidden_size": 32, "num_heads": 2, "patch_size": 8},
        image_token_id=tokenizer.convert_tokens_to_ids("<|image_pad|>"),
        **ids,
    )
    config.text_config.bos_token_id = config.text_config.eos_token_id = None
    images = {"patch_size": 8, "size": {"shortest_edge": 256, "longest_edge": 4096}}
    processor = Qwen2VLProcessor(
        Qwen2VLImageProcessor(**images),
        tokenizer,
        Qwen2VLVideoProcessor(**images),
        chat_template=TEMPLATE.format(image="<|vision_start|><|image_pad|><|vision_end|>"),
    )
    return Qwen2VLForConditionalGeneration(config), processor


def idefics3() -> tuple:
    """SmolVLM is made of the same."""
    tokenizer = trained(byte_level())
    config = Idefics3Config(
        vision_config=LAYERS | {"image_size": 32, "patch_size": 8},
        text_config=LAYERS | {"model_type": "llama", "vocab_size": len(tokenizer), "pad_token_id": 3},
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        pad_token_id=tokenizer.pad_token_id,
    )
    edge = {"longest_edge": 32}
    processor = Idefics3Processor(
        Idefics3ImageProcessor(size=edge, max_image_size=edge),
        tokenizer,
        image_seq_len=4,
        chat_template=TEMPLATE.format(image="<image>"),
    )
    return Idefics3ForConditionalGeneration(config), processor
