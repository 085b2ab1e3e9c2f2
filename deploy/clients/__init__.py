"""Clients of the gateway, and what keeps them up to date with it."""
