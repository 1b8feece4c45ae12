"""The table of quirks as a page: ``python -m tests.registry.quirks_page`` writes it."""

from __future__ import annotations

from pathlib import Path

from camera_registry.quirks import QUIRKS, Quirk

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "quirks.md"
COMMAND = "python -m tests.registry.quirks_page"
HEADING = f"""# What cameras do otherwise

Written from [`camera_registry/quirks.py`](../camera_registry/quirks.py) by `{COMMAND}`: change it there.
What such a camera says is in [`tests/corpus`](../tests/corpus); the tests replay it.
"""


def page() -> str:
    """What the page is to hold."""
    return "\n".join([HEADING, *(section(quirk) for quirk in QUIRKS)])


def section(quirk: Quirk) -> str:
    lines = [
        f"## {quirk.id}",
        "",
        f"- Seen on: {quirk.devices} ({', '.join(map(link, quirk.sources))}).",
        f"- Symptom: {quirk.symptom}.",
        f"- What we do: {quirk.answer}.",
        f"- Replayed: {', '.join(f'[{name}](../tests/corpus/{name})' for name in quirk.corpus)}.",
        "- Tests:",
        *(f"  - `{node}`" for node in quirk.tests),
        "",
    ]
    return "\n".join(lines)


def link(source: str) -> str:
    if source.startswith("https://"):
        return f"<{source}>"
    repository, _, number = source.partition("#")
    return f"[{source}](https://github.com/{repository}/issues/{number})"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
