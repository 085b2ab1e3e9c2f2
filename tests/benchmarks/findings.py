"""What a long check has found so far, as JSON and as Markdown."""

import json
from pathlib import Path
from typing import Any

OK, LATE = "ok", "not in the time"

Row = dict[str, Any]


class Findings:
    """`facts` about the machine, and rows in parts; both files are written anew with every row."""

    def __init__(self, folder: Path, name: str, facts: Row) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.json, self.markdown = folder / f"{name}.json", folder / f"{name}.md"
        self.facts, self.parts = facts, dict[str, list[Row]]()

    def add(self, part: str, row: Row) -> None:
        """A row has a name, a result and any figures; it is printed, too."""
        self.parts.setdefault(part, []).append(row)
        self.json.write_text(json.dumps({"facts": self.facts, "parts": self.parts}, indent=1))
        self.markdown.write_text(self._text())
        print(" | ".join(cell(value) for value in row.values()), flush=True)

    @property
    def wrong(self) -> list[str]:
        """The names of what ran and is not as it should be."""
        rows = [row for rows in self.parts.values() for row in rows]
        return [row["name"] for row in rows if not row["result"].startswith((OK, LATE))]

    def _text(self) -> str:
        facts = [f"- {name}: {cell(value)}" for name, value in self.facts.items()]
        tables = [line for part, rows in self.parts.items() for line in ("", f"## {part}", "", *table(rows))]
        return "\n".join([*facts, *tables, ""])


def table(rows: list[Row]) -> list[str]:
    """Markdown of the rows, with a column for whatever one of them has."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    cells = [[cell(row.get(column, "")) for column in columns] for row in rows]
    return [f"| {' | '.join(line)} |" for line in (columns, ["---"] * len(columns), *cells)]


def cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value).replace("|", "/")
