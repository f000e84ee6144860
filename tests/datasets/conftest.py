"""Made-up copies of official layouts: names and headers as published, images invented."""

import openpyxl
import pytest
from PIL import Image

from foveola.datasets.manifest import Manifest


@pytest.fixture
def photograph(tmp_path):
    """Make a tiny image at each path, all different unless colour says otherwise."""
    made = []

    def _photograph(*paths: str, colour: int | None = None) -> None:
        for path in paths:
            made.append(path)
            value = len(made) if colour is None else colour
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            kind = "PNG" if path.lower().endswith("png") else "JPEG"
            Image.new("RGB", (8, 8), (value * 7 % 256, value, 200)).save(tmp_path / path, kind)

    return _photograph


@pytest.fixture
def text(tmp_path):
    def _text(path: str, content: str) -> None:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(content)

    return _text


@pytest.fixture
def sheet(tmp_path):
    """Write an Excel file of these rows."""

    def _sheet(path: str, *rows) -> None:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        book = openpyxl.Workbook()
        for row in rows:
            book.active.append(row)
        book.save(tmp_path / path)
        book.close()

    return _sheet


@pytest.fixture
def told():
    """File name to the named fields of its case."""

    def _told(manifest: Manifest, *names: str) -> dict[str, tuple]:
        return {
            case.image: tuple(getattr(case, name, case.extra.get(name)) for name in names) for case in manifest.cases()
        }

    return _told
