"""Between ComfyUI's pictures, tensors of 0 to 1, and a service's, which are files."""

import base64
import io
import math
from collections.abc import Sequence

import numpy as np
import PIL.Image
import torch
from torch import Tensor

from rarebit_client.documents import Preview


def tensor_of(pictures: Sequence[PIL.Image.Image]) -> Tensor:
    """[batch, height, width, 3] of 0 to 1, of pictures of one size."""
    pixels = [np.asarray(picture.convert("RGB"), dtype=np.float32) / 255 for picture in pictures]
    return torch.from_numpy(np.stack(pixels))


def png_of(image: Tensor) -> bytes:
    """The file of a batch of one, without its alpha channel; ValueError where the batch has more."""
    if len(image) != 1:
        raise ValueError(f"image: one picture is varied at a time, and this is a batch of {len(image)}")
    pixels = (255 * image[0, :, :, :3].clamp(0, 1)).round().byte().cpu().numpy()
    file = io.BytesIO()
    PIL.Image.fromarray(pixels).save(file, "png")
    return file.getvalue()


def sheet_of(preview: Preview) -> PIL.Image.Image:
    """What a check has just looked at, as one picture: about as many columns as rows."""
    tiles = [PIL.Image.open(io.BytesIO(base64.b64decode(one.url.partition(",")[2]))) for one in preview.pictures]
    columns, (width, height) = math.ceil(math.sqrt(len(tiles))), tiles[0].size
    sheet = PIL.Image.new("RGB", (columns * width, math.ceil(len(tiles) / columns) * height))
    for index, tile in enumerate(tiles):
        row, column = divmod(index, columns)
        sheet.paste(tile, (column * width, row * height))
    return sheet
