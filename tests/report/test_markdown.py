"""Cards as blocks."""

from foveola.encoders.release import RELEASED
from foveola.report.markdown import Piece, blocks

CARD = """# Name of `it`

A line
that goes on, **strong**, [docs](https://x.org/a).

## Second
- one
  goes on
- two

| a | b |
|---|--:|
| 1 | `x` |
text right after

```
foveola <b> index
```
<script>alert(1)</script>
"""


def plain(text):
    return "".join(piece.text for piece in text)


def test_by_hand():
    found = blocks(CARD)
    assert [(b.kind, b.level) for b in found] == [
        ("heading", 1),
        ("paragraph", 0),
        ("heading", 2),
        ("list", 0),
        ("table", 0),
        ("paragraph", 0),
        ("code", 0),
        ("paragraph", 0),
    ]
    assert found[0].lines[0] == (Piece("text", "Name of "), Piece("code", "it"))
    assert plain(found[1].lines[0]) == "A line that goes on, strong, docs."
    assert [plain(item) for item in found[3].lines] == ["one goes on", "two"]
    assert [[plain(cell) for cell in row] for row in found[4].rows] == [["a", "b"], ["1", "x"]]
    assert plain(found[6].lines[0]) == "foveola <b> index"
    assert plain(found[7].lines[0]) == "<script>alert(1)</script>"  # a text: templates escape it


def test_the_cards_we_release_are_understood():
    for path in RELEASED.glob("*/CARD.md"):
        found = blocks(path.read_text(encoding="utf-8"))
        assert found[0].kind == "heading"
        assert any(block.kind == "table" for block in found)
        for block in found:
            for text in block.lines:
                assert "| ---" not in plain(text)
                assert "**" not in plain(text)
