"""Weights and their configuration, for `services.checkpoints` to find."""
