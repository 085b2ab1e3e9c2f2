"""Train and export the embedded checkpoint; scripts that only its makers run."""

import services.diffusion  # noqa: F401  (mends torchvision on CPU builds before transformers is imported)
