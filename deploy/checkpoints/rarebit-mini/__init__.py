"""Weights and their configuration, for `services.diffusion.runtime.checkpoint` to find."""
