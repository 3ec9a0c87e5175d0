"""A page of the docs as its blocks of code, and what its outputs must look like."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

DOCS: Final = Path(__file__).parent.parent.parent / "docs"

_FENCE: Final = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE: Final = re.compile(r"`([\w/]+\.py)`")


class Block(NamedTuple):
    """A block of code, and the text between the block before and this one."""

    language: str
    code: str
    before: str

    @property
    def paragraph(self) -> str:
        """The paragraph right above the block."""
        return " ".join(self.before.strip().rpartition("\n\n")[2].split())

    @property
    def file(self) -> str | None:
        """The file that the paragraph names, if the block is to be pasted into one."""
        starts = ("In `", "At the end of `")
        found = _FILE.search(self.paragraph) if self.paragraph.startswith(starts) else None
        return found[1] if found else None

    @property
    def is_at_end(self) -> bool:
        """Whether the block comes behind what the file has."""
        return self.paragraph.startswith("At the end")


class Command(NamedTuple):
    line: str
    output: str
    """What the page says that it prints. Empty if the page does not say it."""


def blocks(page: str) -> Iterator[Block]:
    end = 0
    for found in _FENCE.finditer(page):
        yield Block(found[1], found[2], page[end : found.start()])
        end = found.end()


def commands(block: Block) -> Iterator[Command]:
    for part in re.split(r"^\$ ", block.code, flags=re.MULTILINE)[1:]:
        lines = part.splitlines(keepends=True)
        # A quotation that is open goes on in the next line.
        length = 1
        while "".join(lines[:length]).count('"') % 2:
            length += 1
        yield Command("".join(lines[:length]), "".join(lines[length:]))


def is_as_shown(printed: str, shown: str) -> bool:
    """Whether an output is the one of the page, but for ids, times, and lines for which `…` stands.

    Spaces at the ends of lines do not count.
    """
    pattern = "".join(
        r"(?:.*\n)*" if line.strip() == "…" else re.escape(line) + r" *\n"
        for line in _without_what_varies(shown).splitlines()
    )
    return re.fullmatch(pattern, _without_what_varies(printed)) is not None


def _without_what_varies(text: str) -> str:
    for pattern, stand_in in _VARIES.items():
        text = re.sub(pattern, stand_in, text)
    return text


_VARIES: Final[Mapping[str, str]] = {
    r"\b\d{13}-\d+(-[0-9a-f]{8})?\b": "<id>",
    r"\b20\d\d-\d\d-\d\d\b": "<day>",
    r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b": "<uuid>",
    r"after \d+:\d\d:\d\d": "after <time>",
    r"in about \d+\.\d s": "in about <seconds>",
    r"\b\d+ seconds?\b": "<seconds>",
    r"\bin \d+\.\d+s\b": "in <seconds>",
    r"(can be retried now|will be retried in [^:]+):": "is retried:",
    r"(?<=\S) {2,}": "  ",
}
"""What is different each time a command runs."""
