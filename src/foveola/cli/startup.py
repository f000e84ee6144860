"""What every command looks at first, and what makes one search, and a service, start sooner."""

import gc
import os
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from foveola.errors import FoveolaError, ResourceError

if TYPE_CHECKING:
    from foveola.retrieval import Retriever


LEAST_MEMORY = 1536 << 20  # bytes: a search of a small archive takes about 1.2 GiB of addresses


def check_memory() -> None:
    """Refuse to start where the system allows too little memory (`ulimit -v`, `ulimit -d`).

    OpenBLAS and OpenVINO make threads and buffers when they are imported, and end the process by a
    signal where they get none; so this is looked at before.

    Raises:
        ResourceError: less than LEAST_MEMORY is allowed.
    """
    if sys.platform == "win32":
        return
    import resource

    for kind, option in ((resource.RLIMIT_AS, "v"), (resource.RLIMIT_DATA, "d")):
        allowed, _ = resource.getrlimit(kind)
        if 0 <= allowed < LEAST_MEMORY:
            raise ResourceError(
                f"a process may use only {allowed >> 20:,} MiB of memory here, and Foveola needs "
                f"{LEAST_MEMORY >> 20:,}; allow it more, with 'ulimit -{option} unlimited' say"
            )


def import_openvino_runtime() -> None:
    """Import OpenVINO without its model converter, which is half of its import time.

    OpenVINO itself allows for an absent converter. This is for a process of ours only, never
    for the library: `openvino.convert_model` is missing afterwards.
    """
    converter = "openvino.tools.ovc"
    if "openvino" in sys.modules:
        return
    sys.modules[converter] = None  # type: ignore[assignment]  # importing it is an ImportError
    try:
        import openvino  # noqa: F401
    finally:
        del sys.modules[converter]


def prepare_service(archive: Path) -> "Retriever":
    """Open its archive before a service is imported, and make that import quick.

    What the first search waits for, the encoder and all descriptors, is loaded meanwhile: most of
    it is done beside Python. Classes are made by the thousand while FastAPI is imported and nothing
    is thrown away, so the collector of garbage only looks at all of them again and again. And no
    plugin of pydantic that happens to be installed shall see what is sent.

    Raises:
        ArchiveError, EncoderError: the archive can't be opened.
    """
    gc.disable()
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    import_openvino_runtime()
    from foveola.retrieval import Retriever

    retriever = Retriever.open(archive.absolute())  # as `foveola.server.create_app` wants it
    threading.Thread(target=_warm, args=(retriever,), name="warming ahead").start()
    return retriever


def _warm(retriever: "Retriever") -> None:
    with suppress(FoveolaError):  # the service finds the same, and says so when it is asked
        retriever.warm()


def service_is_ready() -> None:
    """After that: collect garbage again, but never look at what stays for ever."""
    gc.enable()
    gc.freeze()
