"""What a CUDA device tells of itself; of any other there is nothing to tell."""

import torch


def peak_memory(device: torch.device) -> float | None:
    """The share of its memory that tensors of this process have taken at most."""
    if device.type != "cuda":
        return None
    total: int = torch.cuda.get_device_properties(device).total_memory
    return torch.cuda.max_memory_allocated(device) / total


def gpu_uuid(device: torch.device) -> str | None:
    """As NVML has it behind `GPU-`."""
    return str(torch.cuda.get_device_properties(device).uuid) if device.type == "cuda" else None
