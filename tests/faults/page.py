"""docs/reliability.md has a section for each of the commands that measure; each puts its last report there."""

from collections.abc import Sequence
from pathlib import Path

PAGE = Path("docs/reliability.md")


def publish(section: str, lines: Sequence[str]) -> None:
    """Print the lines, and replace those between the section's two marks on the page by them."""
    report = "\n".join(lines)
    print(report, flush=True)
    before, begin, rest = PAGE.read_text().partition(f"<!-- {section} -->\n")
    _, end, after = rest.partition(f"<!-- end of {section} -->\n")
    if not end:
        raise ValueError(f"{PAGE} has no two marks of a section {section!r}")
    PAGE.write_text(f"{before}{begin}{report}\n{end}{after}")
