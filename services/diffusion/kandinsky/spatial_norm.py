"""MoVQ's normalisation by its latents (arXiv 2209.09002), without what a large picture makes dear."""

from diffusers import VQModel
from diffusers.models.attention_processor import SpatialNorm
from jaxtyping import Float
from torch import Tensor, nn


class LatentNorm(nn.Module):
    """diffusers' SpatialNorm but for rounding, at half the cost of the decoder.

    A 1×1 convolution of repeated latents is the repeated convolution: so it is made at the latents' size, and the
    features are scaled and shifted in place, a cell of them for each latent. Without gradient only.
    """

    def __init__(self, spatial_norm: SpatialNorm) -> None:
        super().__init__()
        self.norm, self.scale, self.shift = spatial_norm.norm_layer, spatial_norm.conv_y, spatial_norm.conv_b

    def forward(
        self, f: Float[Tensor, "batch channels height width"], zq: Float[Tensor, "batch latent_channels h w"]
    ) -> Float[Tensor, "batch channels height width"]:
        normed: Tensor = self.norm(f)
        cells = normed.unflatten(3, (zq.shape[3], -1)).unflatten(2, (zq.shape[2], -1))
        cells.mul_(self.scale(zq)[:, :, :, None, :, None]).add_(self.shift(zq)[:, :, :, None, :, None])
        return normed


def with_latent_norms(movq: VQModel) -> VQModel:
    """The same model, its decoder's SpatialNorms replaced."""
    for parent in list(movq.decoder.modules()):
        for name, child in parent.named_children():
            if isinstance(child, SpatialNorm):
                setattr(parent, name, LatentNorm(child))
    return movq
