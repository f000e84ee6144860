"""The few forms of Markdown that our cards are written in, as blocks for a template to print.

Headings, paragraphs, lists, tables and code. Nothing becomes HTML here: a template escapes every
text, so a card can bring no script into a page; what is not understood is printed as it stands.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal, NamedTuple

_RULE = re.compile(r"\|?\s*:?-{2,}")
_INLINE = re.compile(r"(`[^`]+`|\*\*[^*]+\*\*|\[[^\]]+\]\([^)]*\))")


class Piece(NamedTuple):
    """A stretch of text: kind "text", "code" or "strong"."""

    kind: Literal["text", "code", "strong"]
    text: str


Text = tuple[Piece, ...]


@dataclass(frozen=True)
class Block:
    """A part of a document.

    Attributes:
        kind: what it is; `lines` are its texts: one of a heading or a paragraph, the items of a
            list, the lines of code.
        lines: texts.
        level: of a heading, from 1.
        rows: of a table, the first is its head.
    """

    kind: Literal["heading", "paragraph", "list", "code", "table"]
    lines: tuple[Text, ...] = ()
    level: int = 0
    rows: tuple[tuple[Text, ...], ...] = ()


def blocks(text: str) -> list[Block]:
    r"""Split a document into its parts, in order.

    >>> [block.kind for block in blocks("# Title\n\nSome words.\n\n- one\n- two")]
    ['heading', 'paragraph', 'list']
    """
    found: list[Block] = []
    for fenced, part in _fenced(text.splitlines()):
        if fenced:
            found.append(Block("code", tuple((Piece("text", line),) for line in part)))
            continue
        for filled, lines in groupby(part, key=lambda line: bool(line.strip())):
            if filled:
                found += _of_paragraph(list(lines))
    return found


def _fenced(lines: Sequence[str]) -> Iterator[tuple[bool, list[str]]]:
    within = False
    part: list[str] = []
    for line in lines:
        if line.startswith("```"):
            yield within, part
            within, part = not within, []
        else:
            part.append(line)
    yield within, part


def _of_paragraph(lines: list[str]) -> Iterator[Block]:
    """The blocks of lines without an empty one between them."""
    while lines:
        first = lines[0]
        if match := re.match(r"(#{1,6})\s+(.*)", first):
            yield Block("heading", (_pieces(match[2]),), level=len(match[1]))
            lines = lines[1:]
        elif first.lstrip().startswith("|") and len(lines) > 1 and _RULE.match(lines[1].strip()):
            size = next((i for i, x in enumerate(lines) if "|" not in x), len(lines))
            rows = [first, *lines[2:size]]
            yield Block(
                "table",
                rows=tuple(tuple(_pieces(cell.strip()) for cell in x.strip().strip("|").split("|")) for x in rows),
            )
            lines = lines[size:]
        else:
            size = next((i for i, x in enumerate(lines) if i and x.startswith(("#", "|"))), len(lines))
            yield _plain(lines[:size])
            lines = lines[size:]


def _plain(lines: list[str]) -> Block:
    """A list, or a paragraph."""
    if not re.match(r"\s*[-*]\s", lines[0]):
        return Block("paragraph", (_pieces(" ".join(line.strip() for line in lines)),))
    items: list[str] = []
    for line in lines:
        if match := re.match(r"\s*[-*]\s+(.*)", line):
            items.append(match[1])
        else:
            items[-1] += " " + line.strip()
    return Block("list", tuple(map(_pieces, items)))


def _pieces(text: str) -> Text:
    return tuple(_piece(part) for part in _INLINE.split(text) if part)


def _piece(part: str) -> Piece:
    if not _INLINE.fullmatch(part):
        return Piece("text", part)
    if part.startswith("`"):
        return Piece("code", part[1:-1])
    if part.startswith("**"):
        return Piece("strong", part[2:-2])
    return Piece("text", part[1 : part.index("](")])  # a link's words: pages lead nowhere else
