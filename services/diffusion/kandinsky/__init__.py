"""Kandinsky 2.1: the prior, sampled with gradient, and the decoder."""
