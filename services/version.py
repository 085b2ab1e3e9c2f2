"""The version, as pyproject.toml has it and the installed package says."""

from importlib.metadata import version

__version__ = version("rarebit")
