"""A photograph may be given as text, Path, bytes or pixels; a path as text or Path, everywhere."""

import contextlib
import importlib
import inspect
import io
import os
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from PIL import Image

import foveola
from foveola import Manifest, Retriever, add_missing, decode
from foveola.archive import Archive
from foveola.client import Client
from foveola.errors import FoveolaError, ImageError
from foveola.images.decode import as_file, peek
from foveola.matching.match import Matcher
from foveola.reading import person, read_person


@pytest.fixture(scope="module")
def photographs(phantoms):
    """Files of photographs, which an archive holds."""
    return sorted((phantoms.parent / "images").iterdir())


@pytest.fixture(scope="module")
def retriever(phantoms, tmp_path_factory):
    folder = tmp_path_factory.mktemp("given") / "archive"
    add_missing(folder, list(Manifest.read(phantoms).cases())[:6])
    with Retriever.open(folder) as opened:
        yield opened


FORMS = {
    "text": str,
    "Path": Path,
    "bytes": Path.read_bytes,
    "pixels": lambda path: np.asarray(decode(path)),
    "PIL": lambda path: Image.fromarray(decode(path)),
}
UNNAMED = ("bytes", "pixels", "PIL")


@pytest.mark.parametrize("form", FORMS)
def test_a_search_takes_a_photograph_in_every_form(retriever, photographs, form):
    path = photographs[-1]  # the archive does not hold it
    asked = retriever.search(FORMS[form](path))
    known = retriever.search(path)
    assert [hit.id for hit in asked.hits] == [hit.id for hit in known.hits]
    # a JPEG is decoded at a reduced scale where that will do, and pixels are not
    assert np.allclose(
        [hit.similarity for hit in asked.hits],
        [hit.similarity for hit in known.hits],
        atol=0.05 if form in ("pixels", "PIL") else 0,
    )


@pytest.mark.parametrize("form", FORMS)
def test_the_archive_knows_its_file_again_in_every_form_but_pixels(retriever, photographs, form):
    found = retriever.search(FORMS[form](photographs[0]))
    assert found.in_archive == (form not in ("pixels", "PIL"))


@pytest.mark.parametrize("form", FORMS)
def test_a_search_for_people_takes_a_photograph_in_every_form(retriever, photographs, form):
    left, right = photographs[0], photographs[2]  # of the first person, whose two visits are kept
    found = retriever.search_person(FORMS[form](left), FORMS[form](right), k=1)
    assert set(found.query) == {"left", "right"}


@pytest.mark.parametrize("form", FORMS)
def test_matching_takes_a_photograph_in_every_form(photographs, form):
    asked = SimpleNamespace(match_sent=lambda data, given, **_: (data, given))
    data, given = Matcher.match(asked, FORMS[form](photographs[0]))
    assert np.array_equal(decode(data), decode(photographs[0]))
    assert given.path == (f"sent:{given.image}" if form in UNNAMED else str(photographs[0]))


@pytest.mark.parametrize("form", FORMS)
def test_reading_takes_a_photograph_in_every_form(photographs, form, monkeypatch):
    monkeypatch.setattr(person, "_read", lambda reader, paths, seen, start: (paths, seen))
    contract = SimpleNamespace(min_side=None, orient=False)
    reader = SimpleNamespace(release=SimpleNamespace(contract=contract), prepare=lambda pixels, _=None: pixels)
    looker = SimpleNamespace(look=lambda pixels: (SimpleNamespace(gradability=1), None))
    paths, seen = read_person(reader, FORMS[form](photographs[0]), None, looker)
    assert np.array_equal(seen["left"].squares["left"], decode(photographs[0]))
    named = form not in UNNAMED
    assert paths == {"left": photographs[0] if named else Path("left eye")}


def test_pixels_come_back_as_they_went_in():
    pixels = np.random.default_rng(0).integers(0, 256, (70, 93, 3)).astype(np.uint8)
    assert np.array_equal(decode(as_file(pixels).data), pixels)
    assert np.array_equal(
        decode(as_file(pixels[::-1, ::2][:, ::-1].repeat(2, 1)).data), pixels[::-1, ::2][:, ::-1].repeat(2, 1)
    )


ELSE = {
    "nothing": (None, "NoneType"),
    "a number": (7, "int"),
    "an open file": (io.BytesIO(b"x"), "BytesIO"),
    "a list": ([[0]], "list"),
    "grey": (np.zeros((80, 80), np.uint8), r"\(80, 80\) uint8"),
    "floats": (np.zeros((80, 80, 3)), r"\(80, 80, 3\) float64"),
    "channels first": (np.zeros((3, 80, 80), np.uint8), r"\(3, 80, 80\) uint8"),
    "with alpha": (np.zeros((80, 80, 4), np.uint8), r"\(80, 80, 4\) uint8"),
    "no pixel": (np.zeros((0, 80, 3), np.uint8), r"\(0, 80, 3\) uint8"),
}


@pytest.mark.parametrize("name", ELSE)
def test_a_search_says_what_it_takes(retriever, name):
    thing, found = ELSE[name]
    with pytest.raises(ValueError, match=f"{found}.*expected .*\\(H, W, 3\\) uint8"):
        retriever.search(thing)


@pytest.mark.parametrize("take", [decode, peek, lambda x: Client("http://127.0.0.1:9").search(x)])
def test_what_takes_a_file_says_so(take):
    with pytest.raises(ValueError, match="of type int; expected the path of a file"):
        take(7)


@pytest.mark.parametrize("name", ["", "none.jpg", "\0"])
def test_text_that_names_no_file_is_told(retriever, name):
    with pytest.raises(ImageError):
        retriever.search(name)


def test_too_small_an_array_is_told_like_too_small_a_file(retriever):
    with pytest.raises(ImageError, match="10 x 10 pixels; expected at least 64"):
        retriever.search(np.zeros((10, 10, 3), np.uint8))


# Paths

PARTS = (
    "foveola",
    "foveola.server.auth",
    "foveola.archive",
    "foveola.server.audit",
    "foveola.phantom",
    "foveola.regions",
    "foveola.report",
    "foveola.retrieval",
)
NAMED = {
    "foveola.datasets.adapters": ("adapt", "read_dataset"),
    "foveola.datasets.manifest": ("read_sources",),
    "foveola.datasets.splits": ("SplitFiles",),
    "foveola.matching.match": ("Matcher",),
    "foveola.server.study": ("new_study", "open_study"),
    "foveola.training.run": ("train",),
    "foveola.training.compare": ("compare",),
}
INSIDE = {
    "Archive.__init__",
    "Manifest.__init__",
    "Matcher.__init__",
    "count_missing",
    "forget_missing",
}  # others make them


def takers():
    """Each public function of these parts that takes a path, with the annotation."""
    for part in (*PARTS, *NAMED):
        module = importlib.import_module(part)
        for name in NAMED.get(part, getattr(module, "__all__", ())):
            thing = getattr(module, name)
            for label, function in functions(name, thing):
                for parameter in inspect.signature(function).parameters.values():
                    if "Path" in str(parameter.annotation) and label not in INSIDE:
                        yield f"{part}: {label}({parameter.name})", str(parameter.annotation)


def functions(name, thing):
    if inspect.isfunction(thing):
        yield name, thing
    elif inspect.isclass(thing):
        for each in (each for each in dir(thing) if each == "__init__" or each[0] != "_"):
            found = inspect.getattr_static(thing, each)
            found = getattr(found, "__func__", found)
            if inspect.isfunction(found) and found.__module__.startswith("foveola"):
                yield f"{name}.{each}", found


TAKERS = dict(takers())


@pytest.mark.parametrize("label", TAKERS)
def test_what_takes_a_path_takes_text(label):
    assert "str" in TAKERS[label] or "PathLike" in TAKERS[label], TAKERS[label]


def write(folder, name, text="x"):
    (folder / name).write_text(text)
    return str(folder / name)


CALLS = {
    "Accounts": lambda f: foveola_accounts().create(f + "/archive").close(),
    "assess": lambda f: foveola.assess(f + "/archive"),
    "Archive.open": lambda f: Archive.open(f + "/archive").close(),
    "foveola.Archive.open": lambda f: foveola.Archive.open(f + "/archive").close(),
    "Archive.create": lambda f: Archive.create(f + "/new", encoder="e", fingerprint="f", dimension=2).close(),
    "add_missing": lambda f: add_missing(f + "/more", []),
    "Log": lambda f: log().Log(f + "/archive").append("a", "b"),
    "verify": lambda f: log().verify(f + "/archive"),
    "head": lambda f: log().head(f + "/archive"),
    "read": lambda f: list(log().read(f + "/archive")),
    "Manifest.from_folder": lambda f: Manifest.from_folder(f),
    "Manifest.read": lambda f: Manifest.read(f + "/labels.csv", check_files=False),
    "Manifest.write": lambda f: Manifest.from_folder(f).write(f + "/written.csv"),
    "Retriever.open": lambda f: Retriever.open(f + "/archive").close(),
    "decode": lambda f: decode(f + "/a.png"),
    "peek": lambda f: peek(f + "/a.png"),
    "generate": lambda f: part("phantom").generate(f + "/drawn", subjects=1, visits=1, size=64),
    "read_masks": lambda f: part("phantom").read_masks(f + "/a.png"),
    "is_on": lambda f: part("regions").is_on(f + "/archive"),
    "switch_on": lambda f: part("regions").switch_on(f + "/archive"),
    "update": lambda f: part("regions").update(f + "/archive"),
    "switch_off": lambda f: part("regions").switch_off(f + "/archive"),
    "RegionSearch.open": lambda f: part("regions").RegionSearch.open(f + "/archive").close(),
    "Matcher.open": lambda f: Matcher.open(f + "/archive"),
    "write_page": lambda f: part("report").write_page(f + "/page.html", "page"),
    "open_study": lambda f: part("server.study").open_study(f + "/study"),
    "SplitFiles.read": lambda f: part("datasets.splits").SplitFiles.read(f),
    "adapt": lambda f: part("datasets.adapters").adapt("idrid", f, f + "/made.csv"),
}


def part(name):
    return importlib.import_module(f"foveola.{name}")


def log():
    return part("server.audit")


def foveola_accounts():
    return part("server.auth").Accounts


@pytest.mark.parametrize("name", CALLS)
def test_text_does_as_well_as_a_path(name, tmp_path):
    """It works, or a sentence says of the folder what it would say of a Path."""
    Archive.create(tmp_path / "archive", encoder="e", fingerprint="f", dimension=2).close()
    write(tmp_path, "labels.csv", "image\na.png\n")
    cv2.imwrite(os.fspath(tmp_path / "a.png"), np.zeros((64, 64, 3), np.uint8))
    with contextlib.suppress(FoveolaError):
        CALLS[name](os.fspath(tmp_path))
