"""What the commands of foveola pacs share: where things lie, who asks, what is said."""

import contextlib
import importlib.util
import logging
import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from foveola.cli.output import doubtful, print_json, say, say_doubtful
from foveola.cli.startup import import_openvino_runtime
from foveola.errors import FoveolaError, ImageError, MissingExtraError

if TYPE_CHECKING:
    from foveola.server.dicom.intake import Intake, Taken
    from foveola.server.dicom.pull import Pulled
    from foveola.server.dicom.report import Answered, Receiver
    from foveola.server.dicom.spool import Answers
    from foveola.server.dicom.web import Pacs

F = TypeVar("F", bound=Callable[..., Any])
# Their messages quote what is in a tag.
NEEDED = ("dicomweb_client", "highdicom", "pynetdicom")
TALKATIVE = ("dicomweb_client", "highdicom", "pydicom", "pynetdicom", "urllib3")


def places(command: F) -> F:
    """Options for where what comes from a PACS is kept."""
    options = (
        click.option(
            "--folder",
            type=click.Path(file_okay=False, path_type=Path),
            help="Store, spool and pseudonyms; by default ARCHIVE with .pacs added.",
        ),
        click.option(
            "--pseudonyms",
            type=click.Path(dir_okay=False, path_type=Path),
            help="File that knows who is who; by default in that folder.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def web_options(command: F) -> F:
    """Options for who asks a PACS, and how its answers are trusted."""
    options = (
        click.option(
            "--credentials",
            type=click.Path(dir_okay=False, path_type=Path),
            help="TOML file with user and password, or token; else FOVEOLA_PACS_USER, "
            "FOVEOLA_PACS_PASSWORD or FOVEOLA_PACS_TOKEN.",
        ),
        click.option(
            "--ca",
            type=click.Path(dir_okay=False, path_type=Path),
            help="Certificates (PEM) of the authority that vouches for the PACS.",
        ),
        click.option("--clear", is_flag=True, help="Allow http, without TLS, to another computer."),
        click.option(
            "--object-mb",
            default=256,
            show_default=True,
            type=click.IntRange(1, 4096),
            help="Largest object that is taken.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def answer_options(command: F) -> F:
    """Options for a report on each photograph that comes."""
    options = (
        click.option(
            "--answer-to",
            help="Send a report on each new photograph to this PACS: URL "
            "of its DICOMweb service, or dicom://AE_TITLE@host:port.",
        ),
        click.option(
            "-k", default=10, show_default=True, type=click.IntRange(1, 100), help="How many cases a report holds."
        ),
        click.option("--link", help="Address of a case, with {case} for its number, for reports."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@contextlib.contextmanager
def owed_answers(
    archive: Path, place: Path, intake: "Intake", to: "Receiver | None", *, k: int, link: str | None
) -> "Iterator[Answers]":
    """Which reports are to be sent; none where nobody is named to get them."""
    from foveola.server.dicom.spool import Answers

    if to is None:
        yield Answers(place / "answers", None, complain)
        return
    from foveola.retrieval import Retriever
    from foveola.server.dicom.report import answer, case_link

    case_link(link, 0)  # told now, not with the first photograph
    with Retriever.open(archive) as retriever:
        reply = partial(answer, retriever, intake.pseudonyms, to=to, k=k, link=link)
        yield Answers(place / "answers", reply, complain)


def place_of(archive: Path, folder: Path | None) -> Path:
    """Folder of what comes from a PACS and is not the archive."""
    from foveola.server.dicom import place_of as usual

    return folder or usual(archive)


def pseudonyms_of(folder: Path, file: Path | None) -> Path:
    """The file that knows who is who."""
    from foveola.server.dicom import PSEUDONYMS

    return file or folder / PSEUDONYMS


def open_intake(archive: Path, folder: Path, pseudonyms: Path | None) -> "Intake":
    """What takes objects into the archive."""
    import_openvino_runtime()
    from foveola.server.dicom.intake import Intake

    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    intake = Intake(archive, folder / "store", pseudonyms_of(folder, pseudonyms))
    try:
        intake.recover()
        with contextlib.suppress(ImageError):
            intake.take(b"")  # starts the child that reads: the first object need not wait for it
    except BaseException:
        intake.close()
        raise
    return intake


def classes() -> frozenset[str]:
    """SOP Class UIDs of the images that can be read."""
    from foveola.images._dicom_object import SOP_CLASSES

    return frozenset(SOP_CLASSES)


def web_service(url: str, credentials: Path | None, ca: Path | None, *, clear: bool, object_mb: int) -> "Pacs":
    """The PACS by DICOMweb."""
    from foveola.server.dicom.web import Credentials, Pacs

    return Pacs(url, Credentials.load(credentials), authority=ca, clear=clear, answer_bytes=object_mb << 20)


def receiver(to: str, ae: str, credentials: Path | None, ca: Path | None, *, clear: bool, object_mb: int) -> "Receiver":
    """The PACS that gets a report, by DICOMweb or as a node."""
    if to.startswith("dicom://"):
        from foveola.server.dicom.node import Peer

        return Peer(to, ae)
    return web_service(to, credentials, ca, clear=clear, object_mb=object_mb)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without a word of the libraries, which quote what is in a tag.

    Raises:
        MissingExtraError: they are not installed.
    """
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    threading.excepthook = lambda fault: complain(f"a connection ended by {fault.exc_type.__name__}")
    if any(importlib.util.find_spec(name) is None for name in NEEDED):
        raise MissingExtraError(
            "a PACS needs pynetdicom, dicomweb-client and highdicom; install them: pip install 'foveola[dicom]'"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def stop_on_signals() -> threading.Event:
    """Set by SIGTERM and Ctrl-C."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


def repeat(once: "Callable[[], Pulled]", every: float, *, as_json: bool) -> None:
    """Pull until a signal; what fails is said once and tried again."""
    stop = stop_on_signals()
    said = None
    while not stop.is_set():
        try:
            pulled = once()
            said = None
            if pulled.added or pulled.refused:
                print_pulled(pulled, as_json=as_json)
        except (FoveolaError, OSError) as error:
            if str(error) != said:
                complain(str(error))
            said = str(error)
        stop.wait(every)


def say_taken(answers: "Answers", as_json: bool, taken: "Taken") -> None:
    """Numbers of the cases that are new, no name or UID; and note that a report is owed."""
    if taken.new:
        answers.owe(taken.ids)
        numbers = ", ".join(map(str, taken.ids))
        say({"cases": taken.ids}, f"in the archive: case {numbers}", as_json=as_json)
    say_doubts(taken)


def say_doubts(taken: "Taken") -> None:
    """Say what of an object was not taken or may not be gradable, and any doubt whose it is."""
    if taken.hardly_gradable:
        complain(f"{taken.hardly_gradable} of its frames may be too dark, blurred or hazy to be graded")
    for reason in taken.failed:
        complain(f"a frame could not be used: {reason}")
    if taken.doubt:
        complain(doubtful(taken.doubt, taken.ids))


def complain(sentence: str) -> None:
    """One sentence on stderr."""
    click.echo(sentence, err=True)


def print_pulled(pulled: "Pulled", *, as_json: bool) -> None:
    """What a pull did."""
    if as_json:
        print_json(
            {
                "added": pulled.added,
                "known": pulled.known,
                "refused": pulled.refused,
                "may_not_be_gradable": pulled.hardly_gradable,
            }
        )
    else:
        click.echo(f"{pulled.added} added, {pulled.known} there already, {len(pulled.refused)} could not be used")
    say_doubtful(pulled.hardly_gradable, pulled.added)
    for reason in dict.fromkeys(pulled.refused):
        complain(f"could not be used: {reason}")


def print_answered(answered: "Answered", *, as_json: bool) -> None:
    """What was sent."""
    hits = answered.result.hits
    if as_json:
        print_json(
            {
                "case": answered.case,
                "report": answered.sop_instance_uid,
                "link": answered.link,
                "hits": [{"rank": hit.rank, "id": hit.id, "similarity": round(hit.similarity, 6)} for hit in hits],
            }
        )
        return
    click.echo(f"case {answered.case}: a report of {len(hits)} similar cases was stored")
    if answered.link:
        click.echo(answered.link)
