"""Weights and their configuration, for `services.diffusion.checkpoint` to find."""
