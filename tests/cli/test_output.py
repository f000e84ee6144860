"""What commands show beside their answer."""

import io

import pytest

from foveola.cli.output import progress
from foveola.plain import PlainStream


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("total", "count", "shown"),
    [(4, 4, "4/4"), (None, 3, "3/?"), (0, 0, None)],
    ids=["as many as are known", "nobody knows how many", "nothing to do"],
)
def test_a_bar_never_says_nought_of_nought(monkeypatch, total, count, shown):
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()  # not in a fixture: pytest sets stderr
    monkeypatch.setattr("sys.__stderr__", terminal)
    monkeypatch.setattr("sys.stderr", PlainStream(terminal))  # as commands do
    with progress("encoding queries", total) as advance:
        advance(count)
    said = terminal.getvalue()
    assert shown is None or shown in said
    assert "/0" not in said
    assert bool(said) == (shown is not None)
