"""docs/reliability.md has a section for each of the commands that measure; each puts its last report there."""

from collections.abc import Sequence
from pathlib import Path

PAGE = Path("docs/reliability.md")


def publish(section: str, lines: Sequence[str]) -> None:
    """Print the lines, and replace those between the section's two marks on the page by them."""
    report = "\n".join(lines)
    print(report, flush=True)
    begin, end = f"<!-- {section} -->\n", f"\n<!-- end of {section} -->"
    before, _, rest = PAGE.read_text().partition(begin)
    _, _, after = rest.partition(end)
    PAGE.write_text(before + begin + report + end + after)
