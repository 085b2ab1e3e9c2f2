"""What the gateway and the worker share; `__version__` is that of the installed package, as pyproject.toml has it."""

from importlib.metadata import version

__version__ = version("rarebit")
