"""The pages as a browser asks for them."""

import re
import shutil
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest
from fastapi.testclient import TestClient

from foveola.archive import Archive
from foveola.encoders.release import RELEASED
from foveola.retrieval import Retriever
from foveola.server import create_app
from foveola.server.web.pages import card_html
from server.conftest import MARK, send


def found(text):
    return [int(id_) for id_ in re.findall(r'class="shot" href="/queries/[^/]+/compare/(\d+)"', text)]


def test_the_start_says_what_the_archive_holds(client, photographs):
    text = client.get("/").text
    assert f"<b>{len(photographs)}</b> photographs" in text
    assert 'type="file"' in text
    assert "does not state a diagnosis" in text


def test_the_hits_are_those_of_a_search(client, served, photographs, token):
    with Retriever.open(served) as retriever:
        wanted = retriever.search(photographs[5], 12)
    text = client.get(f"/queries/{token}").text
    assert found(text) == [hit.id for hit in wanted.hits]
    assert wanted.excluded_same_subject == 3
    assert "Same person: 3 left out, with what is so alike that it may be" in text
    for hit in wanted.hits:
        assert f"{hit.similarity:.3f}" in text
        assert str(hit.case.subject) in text


def test_filters_act_within_the_search(client, served, token):
    every = client.get(f"/queries/{token}", params={"count": 100}).text
    ticked = {"grade": ["2", "none"], "eye": "left", "count": 3}
    chosen = found(client.get(f"/queries/{token}", params=ticked).text)
    with Retriever.open(served) as retriever:
        cases = {id_: retriever.archive.case(id_) for id_ in found(every)}
    fitting = [id_ for id_, case in cases.items() if case.grade in (2, None) and case.eye == "left"]
    assert chosen == fitting[:3]
    assert len(chosen) == 3


def test_a_condition_in_words(client, token):
    text = client.get(f"/queries/{token}", params={"where": "age > 200"}).text
    assert "No case was found" in text
    wrong = client.get(f"/queries/{token}", params={"where": "age >"})
    assert wrong.status_code == 422
    assert 'role="alert"' in wrong.text


def test_htmx_gets_the_hits_alone(client, token):
    part = client.get(f"/queries/{token}", headers={"HX-Request": "true"}).text
    assert found(part)
    assert "<html" not in part
    fault = client.get(f"/queries/{token}", params={"where": "age >"}, headers={"HX-Request": "true"})
    assert "<html" not in fault.text


def test_side_by_side(client, token):
    (first, *_) = found(client.get(f"/queries/{token}").text)
    text = client.get(f"/queries/{token}/compare/{first}").text
    addresses = re.findall(r'data-(?:picture|map)="([^"]+)"', text)
    assert len(addresses) == 4
    for address in addresses:
        answer = client.get(address)
        picture = cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_UNCHANGED)
        assert picture.shape[2] == (4 if "/map/" in address else 3)
    for field in re.findall(r'data-field="([^"]+)"', text):
        x, y, side = map(float, field.split())
        assert -0.2 < x < 0.5
        assert -0.2 < y < 0.5
        assert 0.5 < side < 1.2


def test_the_maps_of_photograph_and_case_differ(client, token):
    one, two = (client.get(f"/queries/{token}/map/7/{side}").content for side in ("query", "case"))
    assert one != two
    assert client.get(f"/queries/{token}/map/7/elsewhere").status_code == 404


def test_a_case_with_the_visits_of_its_person(client, served):
    with Retriever.open(served) as retriever:
        cases = dict(retriever.archive.cases())
    own = [id_ for id_, case in cases.items() if case.subject == cases[1].subject]
    text = client.get("/cases/1").text
    shown = [int(id_) for id_ in re.findall(r'<a href="/cases/(\d+)"><img', text)]
    assert sorted(shown) == sorted(own)
    visits = [cases[id_].visit for id_ in shown]
    assert visits == sorted(visits)


def test_more_like_a_case_never_finds_its_person(client, served):
    location = client.post("/cases/1/like").headers["location"]
    with Retriever.open(served) as retriever:
        own = retriever.archive.case(1).subject
        hits = found(client.get(location).text)
        assert hits
        assert own not in {retriever.archive.case(id_).subject for id_ in hits}


def test_no_page_tells_the_name_of_a_file(client, photographs, token):
    assert MARK in photographs[0].name
    pages = [
        "/",
        f"/queries/{token}",
        f"/queries/{token}/compare/3",
        "/cases/3",
        "/api/v1/cases/3",
        "/api/v1/archive",
        "/cases/9999",
        "/api/openapi.json",
    ]
    for address in pages:
        answer = client.get(address)
        assert MARK not in answer.text, address
        assert MARK not in str(answer.headers), address
    files = {"photograph": (f"{MARK}.png", b"no picture", "image/png")}
    for address in ("/queries", "/api/v1/search"):
        refused = client.post(address, files=files)
        assert refused.status_code == 422
        assert MARK not in refused.text


def test_pictures_carry_no_metadata(client, photographs, tmp_path):
    from PIL import Image

    exif = Image.Exif()
    exif[0x010E] = MARK
    with Image.open(photographs[0]) as image:
        image.convert("RGB").save(tmp_path / "told.jpg", exif=exif)
    assert MARK.encode() in (tmp_path / "told.jpg").read_bytes()
    token = send(client, tmp_path / "told.jpg")
    for kind in ("picture", "thumbnail"):
        assert MARK.encode() not in client.get(f"/queries/{token}/{kind}").content


def test_what_is_gone_is_said(client):
    gone = client.get("/queries/nothing-of-this-name")
    assert gone.status_code == 410
    assert "Send it again" in gone.text


@pytest.mark.parametrize("address", ["/cases/9999", "/cases/9999/picture", "/cases/9999/thumbnail", "/nowhere"])
def test_what_is_not_there_is_no_fault_of_ours(client, address):
    answer = client.get(address)
    assert answer.status_code == 404
    assert 'role="alert"' in answer.text


def test_sending_nothing_is_refused(client):
    assert client.post("/queries", data={"eye": "left"}).status_code == 422
    empty = {"photograph": ("", b"", "image/png")}
    assert "no photograph was sent" in client.post("/queries", files=empty).text


def test_the_eye_that_was_said_is_known(client, photographs, tmp_path):
    pixels = cv2.imread(str(photographs[3]))
    cv2.imwrite(str(tmp_path / "new.png"), pixels[:, ::-1])
    token = send(client, tmp_path / "new.png", eye="left")
    assert client.app.state.service.queries.get(token).query.case.eye == "left"


def test_a_photograph_that_is_gone_from_the_disk(client, served, photographs):
    with Retriever.open(served) as retriever:
        id_ = next(i for i, c in retriever.archive.cases() if c.path == str(photographs[-1]))
    aside = photographs[-1].with_suffix(".aside")
    photographs[-1].rename(aside)
    try:
        assert client.get(f"/cases/{id_}").status_code == 200
        assert "image not available" in client.get(f"/cases/{id_}").text
        for address in (f"/cases/{id_}/picture", f"/cases/{id_}/thumbnail"):
            answer = client.get(address)
            assert answer.status_code in (404, 422)
            assert MARK not in answer.text
        assert MARK not in client.post(f"/cases/{id_}/like").text
    finally:
        aside.rename(photographs[-1])


def test_a_case_that_was_removed_is_shown_no_more(served, tmp_path):
    shutil.copytree(served, tmp_path / "A")
    with TestClient(create_app(tmp_path / "A")) as client:
        for kind in ("picture", "thumbnail"):
            assert client.get(f"/cases/2/{kind}").status_code == 200
        with Archive.open(tmp_path / "A") as archive:
            archive.remove(image=archive.case(2).path)
        for kind in ("picture", "thumbnail"):
            assert client.get(f"/cases/2/{kind}").status_code == 404


CARD = """# Name of `it`

A line
that goes on, **strong**, [docs](https://x.org/a).

## Second
- one
  goes on
- two

#### Fourth

| a | b |
|---|--:|
| 1 | `x` |

```
foveola <b> index
```
"""

CARD_HTML = """<h1>Name of <code>it</code></h1>
<p>A line
that goes on, <strong>strong</strong>, docs.</p>
<h2>Second</h2>
<ul>
<li>one
goes on</li>
<li>two</li>
</ul>
<h3>Fourth</h3>
<div class="scroll" tabindex="0"><table>
<thead>
<tr>
<th scope="col">a</th>
<th scope="col">b</th>
</tr>
</thead>
<tbody>
<tr>
<th scope="row">1</th>
<td><code>x</code></td>
</tr>
</tbody>
</table></div>
<pre><code>foveola &lt;b&gt; index
</code></pre>
"""


def test_a_card_by_hand():
    assert card_html(CARD) == CARD_HTML


HOSTILE = (
    "<script>alert(1)</script>",
    "text <script>alert(1)</script> text",
    "<img src=x onerror=alert(1)>",
    "<div onclick='a()'>\n\n| <b onclick=a()> | c |\n|:-:|---|\n| <svg/onload=a()> | d |",
    "[words](javascript:alert(1)) [words](https://x.org) [words][r]\n\n[r]: https://x.org '\"><script>'",
    "![words](https://x.org/a.png) ![words][r]\n\n[r]: data:image/svg+xml;base64,AAAA",
    "<https://x.org> <javascript:alert(1)> <a@x.org>",
    "[<img src=x>](x) [**a**](<b onclick=c>) `<script>`",
    '```"onclick=a()\n<script>\n```\n    <script>',
    "&lt;script&gt; &#60;script&#62;",
)
TAGS = {"article", "blockquote", "code", "div", "em", "h1", "h2", "h3", "hr", "li", "ol", "p", "pre", "strong", "ul"}
TABLE = {"table", "tbody", "td", "th", "thead", "tr"}
OWN = {("div", "class", "scroll"), ("div", "tabindex", "0"), ("th", "scope", "col"), ("th", "scope", "row")}


class Tags(HTMLParser):
    """The tags of a text, and their attributes."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes = set(), set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {(tag, *pair) for pair in attrs}


@pytest.mark.parametrize("card", HOSTILE)
def test_a_card_brings_no_script_link_or_picture(card):
    found = Tags(card_html(card))
    assert found.tags <= TAGS | TABLE
    assert {each for each in found.attributes if each[:2] != ("code", "class")} <= OWN


def test_the_words_of_a_link_stay():
    assert card_html("[words](https://x.org) <https://x.org>") == "<p>words https://x.org</p>\n"


def test_the_cards_we_release_are_understood():
    for path in RELEASED.glob("*/CARD.md"):
        made = card_html(path.read_text(encoding="utf-8"))
        assert made.startswith("<h1>")
        assert "<table>" in made
        assert "| --" not in made
        assert "**" not in made
        assert not {"a", "img"} & Tags(made).tags
