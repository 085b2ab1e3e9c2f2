"""Rarebit in ComfyUI, which reads these two names from each folder in custom_nodes/."""

from .nodes import RarebitGenerate, RarebitLadder, RarebitVary

NODE_CLASS_MAPPINGS = {node.__name__: node for node in (RarebitGenerate, RarebitLadder, RarebitVary)}
NODE_DISPLAY_NAME_MAPPINGS = {
    "RarebitGenerate": "Rare Pictures",
    "RarebitLadder": "Ladder of Rarity",
    "RarebitVary": "Rare Variations",
}
