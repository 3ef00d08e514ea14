"""The documentation, and what stands in it."""

import re
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"


def snippets(page: Path) -> dict[str, list[str]]:
    """What the page shows in blocks, by language."""
    found: dict[str, list[str]] = {}
    for language, code in re.findall(r"(?ms)^```(\w+)\n(.*?)^```", page.read_text("utf-8")):
        found.setdefault(language, []).append(code)
    return found
