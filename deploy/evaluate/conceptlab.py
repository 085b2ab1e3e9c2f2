"""ConceptLab (Richardson et al., arXiv 2308.02669): one learned token between a positive and growing negatives.

Settings are those of the published code (kfirgoldberg/ConceptLab, training/train_config.py and configs/new_pet.yaml):
AdamW at 1e-4 with weight decay 1e-2, one sample with fresh noise a step, five guided prior steps, 1,000 to 2,500 steps,
no force on the positive cosine above 0.28 (max_cosine_thr) nor on a negative one below 0.2 (min_cosine_thr), a new
negative every 250 steps. What differs here: the scorer's nearest noun plays the part of BLIP-2, which named a kind of
the concept; the prior's guidance is the checkpoint's; the positive and negative texts go through CLIP's text encoder,
which the published code replaces with Kandinsky's multilingual one.

On the embedded checkpoint plain samples have cosine 0.42 to their own words and 0.09 to other nouns, so that hardly any
step has a force under the published thresholds: 1,000 of them took a handbag from 0.1 bits to 0.4 (median of 12), and
to 2.4 under `quantile_thresholds`, which is what `conceptlab` uses.
"""

from dataclasses import dataclass
from functools import cache

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from torch.nn.functional import cosine_similarity

from deploy.evaluate.case import Case, Sample, draw_encoded
from services.diffusion.checkers.open_clip import TEMPLATE, OpenClipChecker
from services.diffusion.density.fit import draw_baseline
from services.diffusion.kandinsky.encoding import Encoding
from services.diffusion.kandinsky.model import Kandinsky
from services.diffusion.steering.spaces import places_of

LEARNING_RATE, WEIGHT_DECAY = 1e-4, 1e-2
NEGATIVE_EVERY = 250
ARTICLES = ("a", "the", "my")
PHOTOS = (
    "Professional high-quality photo of {a} {}. photorealistic, 4k, HQ",
    "A photo of {a} {}",
    "A photo of {a} {}. photorealistic, 4k, HQ",
)
EDITS = (
    "Professional high-quality art of {a} {}. photorealistic",
    "A painting of {a} {}",
    "A watercolor painting of {a} {}",
    "A painting of {a} {} in the style of monet",
    "Colorful graffiti of {a} {}. photorealistic, 4k, HQ",
    "A line drawing of {a} {}",
    "Oil painting of {a} {}",
    "Professional high-quality art of {a} {} in the style of a cartoon",
    "A close-up photo of {a} {}",
)
TEMPLATES = PHOTOS * 3 + EDITS
SHOWN = "Professional high-quality art of a {}. photorealistic, 4k, HQ"
PLACEHOLDER = "thing"  # one token of CLIP's vocabulary, in whose place the learned one is put


@dataclass(frozen=True)
class Thresholds:
    """The cosines beyond which there is no force: to the positive from here up, to a negative from here down."""

    positive: float
    negative: float


PUBLISHED = Thresholds(positive=0.28, negative=0.2)


def quantile_thresholds(case: Case, seed: int) -> Thresholds:
    """The same rule where cosines are others than full-size CLIP's: the medians of plain samples' own cosines.

    To the concept's words as the density's held-out samples have them, and to those of the scorer's other nouns.
    """
    model, density = case.model, case.density
    image_embeds = draw_baseline(model, case.subject, 250, seed, case.report)
    rivals = [
        case.subject.described_as(noun)
        for noun in case.checker.rivals(case.checker.reading(case.subject.concept).noun or case.subject.concept)
    ]
    texts = torch.cat([model.encode_prompt(text).text_embeds for text in rivals]).double().cpu()
    cosines = cosine_similarity(image_embeds[:, None], texts, dim=-1)
    return Thresholds(float(density.anchors.median()), float(cosines.median()))


def conceptlab_loss(
    positive: Float[Tensor, ""], negatives: Float[Tensor, "negatives"], thresholds: Thresholds
) -> Float[Tensor, ""]:
    """The published loss less its constant, so that it is 0 where nothing pulls (arXiv 2308.02669, section 4)."""
    pull = (thresholds.positive - positive).clamp(min=0)
    push = (negatives - thresholds.negative).clamp(min=0)
    return pull + 0.5 * (push.mean() + push.max())


class LearnedToken:
    """A token embedding that starts as the mean of the parent word's own."""

    def __init__(self, model: Kandinsky, parent: str) -> None:
        self.model = model
        tokens = model.tokenize(parent)
        places = places_of(tokens.spans, 0, len(parent))
        self.vector = model.text_encoder.get_input_embeddings()(tokens.ids[0, places]).float().mean(0).requires_grad_()

    def encode(self, template: str) -> Encoding:
        """The template with the token at `{}`, one row, differentiable in the token."""
        tokens = self.model.tokenize(template.replace("{}", PLACEHOLDER)).trimmed()
        places = places_of(tokens.spans, template.index("{}"), len(PLACEHOLDER))
        vectors = self.vector.expand(1, len(places), -1)
        return self.model.encode(tokens, torch.tensor(places, device=self.model.device), vectors)


def learn(case: Case, thresholds: Thresholds, seed: int) -> LearnedToken:
    """Move the token for `published_steps` steps."""
    model, concept = case.model, case.subject.concept
    token, generator, negatives = LearnedToken(model, concept), torch.Generator().manual_seed(seed), list[str]()
    text_embeds = cache(lambda text: model.encode_prompt(text).text_embeds)
    optimizer = torch.optim.AdamW([token.vector], lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    for step in range(case.published_steps):
        if step % NEGATIVE_EVERY == 0:
            negatives.append(_look(case, token, seed))
        case.report("optimize", step, case.published_steps, None)
        template = draw_template(generator)
        image_embeds = model.sample_prior(token.encode(template), generator, 1, cached=True)
        texts = torch.cat([text_embeds(template.replace("{}", word)) for word in (concept, *negatives)])
        cosines = cosine_similarity(image_embeds, texts)
        optimizer.zero_grad()
        conceptlab_loss(cosines[0], cosines[1:], thresholds).backward()
        optimizer.step()
    return token


def draw_template(generator: torch.Generator) -> str:
    """One of TEMPLATES with one of ARTICLES; `{}` is left for the concept."""
    template, article = (
        options[int(torch.randint(len(options), (), generator=generator))] for options in (TEMPLATES, ARTICLES)
    )
    return template.replace("{a}", article)


def _look(case: Case, token: LearnedToken, seed: int) -> str:
    """What the token's picture looks like, other than the concept."""
    quiet = lambda *_: None  # noqa: E731
    image = draw_encoded(case.model, token.encode(SHOWN), 1, seed, quiet).images[0]
    return nearest_noun(case.checker, image, case.subject.concept)


@torch.no_grad()
def nearest_noun(checker: OpenClipChecker, image: Image.Image, concept: str) -> str:
    """The scorer's most likely noun for the picture, the concept's own left out."""
    nouns = checker.rivals(checker.reading(concept).noun or concept)
    tokens = checker.tokenizer([TEMPLATE.format(noun) for noun in nouns]).to(checker.model.logit_scale.device)
    cosines = checker.embed([image]) @ checker.model.encode_text(tokens, normalize=True).T
    return nouns[int(cosines.argmax())]


def conceptlab(case: Case, count: int, seed: int) -> Sample:
    """ConceptLab with thresholds from this checkpoint's own cosines; `count` samples of one learned token."""
    return _samples(case, count, seed, quantile_thresholds(case, seed))


def conceptlab_published(case: Case, count: int, seed: int) -> Sample:
    """ConceptLab to the letter."""
    return _samples(case, count, seed, PUBLISHED)


def _samples(case: Case, count: int, seed: int, thresholds: Thresholds) -> Sample:
    token = learn(case, thresholds, seed)
    return draw_encoded(case.model, token.encode(case.subject.prompt), count, seed, case.report)
