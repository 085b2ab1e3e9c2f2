"""How large a picture is, in pixels: the edge of a square, or a width and a height."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Rectangle:
    """The sides of a picture that is not square."""

    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.width}×{self.height}"


Size = int | Rectangle


def size_of(width: int, height: int) -> Size:
    """The edge alone where both sides are the same."""
    return width if width == height else Rectangle(width, height)


def sides_of(size: Size) -> tuple[int, int]:
    """Width and height."""
    return (size, size) if isinstance(size, int) else (size.width, size.height)
