"""A service that listens, and what a person does with a browser in front of it."""

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvicorn

import programs
from foveola.server import Settings, create_app
from foveola.server.timeouts import TimedProtocol
from skips import needs

CHROMIUM = programs.find("chromium")
ARGUMENTS = [
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
NEEDED = [needs("chromium"), pytest.mark.filterwarnings("ignore::ResourceWarning")]
SHOTS = os.environ.get("FOVEOLA_SHOTS")  # a folder for pictures of the pages, to look at
DROP = """async (bytes) => {
    const held = new DataTransfer();
    held.items.add(new File([new Uint8Array(bytes)], "a.jpg", { type: "image/jpeg" }));
    const zone = document.getElementById("zone");
    if (!zone) return 0;
    for (const name of ["dragover", "drop"])
        zone.dispatchEvent(new DragEvent(name, { dataTransfer: held, bubbles: true }));
    return document.getElementById("photograph").files.length;
}"""


@contextmanager
def listening(app, **config) -> Iterator[str]:
    """A service on a free port; gives its address."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", **config))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.05)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(timeout=30)
        listener.close()


def as_served(archive: Path):
    """The same, listening as `foveola serve` does."""
    app = create_app(archive, settings=Settings(host_names=("127.0.0.1",)))
    return listening(app, http=TimedProtocol, proxy_headers=False)


def until(true, seconds=60):
    """Wait; the browser's own waiting evaluates text, which the fence forbids."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.1)


def sent(tab, address, *photographs):
    """Send one photograph or two, and wait for the hits."""
    tab.goto(address)
    tab.set_input_files("#photograph", [str(path) for path in photographs])
    tab.get_by_label("left").check()
    tab.get_by_role("button", name="Find similar cases").click()
    tab.wait_for_selector(".hit")


def dropped(tab, photograph: Path):
    """Drag a photograph onto the page and let it go, as soon as the page listens."""
    until(lambda: tab.evaluate(DROP, list(photograph.read_bytes())))


def log_in(tab, name, password):
    """Fill in the login."""
    tab.get_by_label("Name").fill(name)
    tab.get_by_label("Password").fill(password)
    tab.get_by_role("button", name="Log in").click()


def shoot(tab, name):
    """Take the page wide and narrow, light and dark, where somebody wants to look at it."""
    if not SHOTS:
        return
    for scheme in ("light", "dark"):
        tab.emulate_media(color_scheme=scheme)
        for width in (400, 1400):
            tab.set_viewport_size({"width": width, "height": 900})
            tab.wait_for_timeout(400)
            tab.screenshot(path=f"{SHOTS}/{name}-{scheme}-{width}.png")
    tab.emulate_media(color_scheme="light")
