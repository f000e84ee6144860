"""foveola pacs: listen, pull, answer."""

import contextlib
import importlib.util
import logging
import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from foveola.cli.output import (
    PARTLY,
    archive_argument,
    doubtful,
    import_openvino_runtime,
    json_option,
    one_line_errors,
    print_json,
    say,
    say_doubtful,
)
from foveola.cli.serve import is_loopback
from foveola.errors import FoveolaError, ImageError, MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from foveola.server.dicom.intake import Intake, Taken
    from foveola.server.dicom.pull import New, Pulled
    from foveola.server.dicom.report import Answered, Receiver
    from foveola.server.dicom.spool import Answers
    from foveola.server.dicom.web import Pacs


F = TypeVar("F", bound=Callable[..., Any])
NEEDED = ("dicomweb_client", "highdicom", "pynetdicom")
# Their messages quote what is in a tag.
TALKATIVE = ("dicomweb_client", "highdicom", "pydicom", "pynetdicom", "urllib3")


def _options(*each: Callable[[F], F]) -> Callable[[F], F]:
    """Make one decorator of several options, in their order."""

    def add(command: F) -> F:
        for option in reversed(each):
            command = option(command)
        return command

    return add


# Where what comes from a PACS is kept.
places = _options(
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


# Who asks a PACS, and how its answers are trusted.
web_options = _options(
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


# A report on each photograph that comes.
answer_options = _options(
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


@contextlib.contextmanager
def owed_answers(
    archive: Path, place: Path, intake: "Intake", to: "Receiver | None", *, k: int, link: str | None
) -> "Iterator[Answers]":
    """Open the list of reports that are to be sent; none where nobody is named to get them."""
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
    """Return the folder of what comes from a PACS and is not the archive."""
    from foveola.server.dicom import place_of as usual

    return folder or usual(archive)


def pseudonyms_of(folder: Path, file: Path | None) -> Path:
    """Return the file that knows who is who."""
    from foveola.server.dicom import PSEUDONYMS

    return file or folder / PSEUDONYMS


def open_intake(archive: Path, folder: Path, pseudonyms: Path | None) -> "Intake":
    """Open what takes objects into the archive."""
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
    """Return the SOP Class UIDs of the images that can be read."""
    from foveola.images._dicom_object import SOP_CLASSES

    return frozenset(SOP_CLASSES)


def web_service(url: str, credentials: Path | None, ca: Path | None, *, clear: bool, object_mb: int) -> "Pacs":
    """Return the PACS by DICOMweb."""
    from foveola.server.dicom.web import Credentials, Pacs

    return Pacs(url, Credentials.load(credentials), authority=ca, clear=clear, answer_bytes=object_mb << 20)


def receiver(to: str, ae: str, credentials: Path | None, ca: Path | None, *, clear: bool, object_mb: int) -> "Receiver":
    """Return the PACS that gets a report, by DICOMweb or as a node."""
    if to.startswith("dicom://"):
        from foveola.server.dicom.node import Peer

        return Peer(to, ae)
    return web_service(to, credentials, ca, clear=clear, object_mb=object_mb)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence the libraries, which quote what is in a tag.

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
    """Return an event that SIGTERM and Ctrl-C set."""
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
    """Say the numbers of the new cases, no name or UID, and note that a report is owed."""
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
    """Print one sentence on stderr."""
    click.echo(sentence, err=True)


def print_pulled(pulled: "Pulled", *, as_json: bool) -> None:
    """Print what a pull did."""
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
    """Print what was sent."""
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


@click.group(epilog="Example: foveola pacs listen archive/ --allow ORTHANC")
def pacs() -> None:
    """Take photographs from a PACS, and send it back what is similar."""


@pacs.command(epilog="Example: foveola pacs listen archive/ --allow ORTHANC")
@archive_argument
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", default=11112, show_default=True, type=click.IntRange(0, 65535), help="Port; 0 takes any that is free."
)
@click.option("--ae", default="FOVEOLA", show_default=True, help="AE title of ours.")
@click.option("--allow", multiple=True, help="AE title that may send; repeat it for several.")
@click.option(
    "--associations", default=8, show_default=True, type=click.IntRange(1, 256), help="Senders at the same time."
)
@answer_options
@web_options
@places
@json_option
@one_line_errors
def listen(
    archive: Path,
    host: str,
    port: int,
    ae: str,
    allow: tuple[str, ...],
    associations: int,
    answer_to: str | None,
    k: int,
    link: str | None,
    credentials: Path | None,
    ca: Path | None,
    clear: bool,
    object_mb: int,
    folder: Path | None,
    pseudonyms: Path | None,
    as_json: bool,
) -> None:
    """Take what is sent by C-STORE into ARCHIVE, de-identified.

    An object is acknowledged when it is safe on the disk, and can be found some seconds later.
    What can't be used is kept aside, with the reason, in the folder refused of the spool.
    """
    if not allow and not is_loopback(host):
        raise click.ClickException(
            f"{host} can be reached from other computers; name who may send with --allow, and "
            "let the firewall through nobody else: an AE title is no password"
        )
    with quiet():
        from foveola.server.dicom.node import SYNTAXES, Node, NodeSettings
        from foveola.server.dicom.spool import Spool, Worker

        settings = NodeSettings(
            host=host, port=port, ae_title=ae, allowed=allow, object_bytes=object_mb << 20, associations=associations
        )
        to = answer_to and receiver(answer_to, ae, credentials, ca, clear=clear, object_mb=object_mb)
        place = place_of(archive, folder)
        with (
            Spool(place / "spool") as spool,
            open_intake(archive, place, pseudonyms) as intake,
            owed_answers(archive, place, intake, to or None, k=k, link=link) as answers,
        ):
            taken = partial(say_taken, answers, as_json)
            worker = Worker(spool, intake.take, complain, taken, answers.pay)
            node = Node(spool, settings, classes=classes(), syntaxes=SYNTAXES, arrived=worker.wake)
            stop = stop_on_signals()
            worker.start()
            try:
                bound = node.start()
                say(
                    {"ae": ae, "host": host, "port": bound},
                    f"Foveola listens as {ae} on {host} port {bound} (Ctrl-C stops it)",
                    as_json=as_json,
                )
                stop.wait()
            finally:
                node.stop()
                worker.stop()


@pacs.command(epilog="Example: foveola pacs pull archive/ https://pacs.example/dicom-web --every 5")
@archive_argument
@click.argument("url")
@click.option("--every", type=click.FloatRange(min=0.1), help="Seconds between two pulls; without it one pull is made.")
@click.option(
    "--feed",
    default="auto",
    show_default=True,
    type=click.Choice(["auto", "qido", "orthanc"]),
    help="How to learn of new images; auto takes Orthanc's list of changes if there is one.",
)
@click.option(
    "--days",
    default=30,
    show_default=True,
    type=click.IntRange(0),
    help="Age of the oldest study that QIDO asks for; 0 is any.",
)
@click.option("--modality", help="Modality that a study must have some of, as OP; for QIDO.")
@answer_options
@click.option("--ae", default="FOVEOLA", show_default=True, help="AE title of ours, for dicom://.")
@web_options
@places
@json_option
@click.pass_context
@one_line_errors
def pull(
    ctx: click.Context,
    archive: Path,
    url: str,
    every: float | None,
    feed: str,
    days: int,
    modality: str | None,
    answer_to: str | None,
    k: int,
    link: str | None,
    ae: str,
    credentials: Path | None,
    ca: Path | None,
    clear: bool,
    object_mb: int,
    folder: Path | None,
    pseudonyms: Path | None,
    as_json: bool,
) -> None:
    """Fetch from the PACS at URL what is new there, by DICOMweb, into ARCHIVE, de-identified.

    How far the PACS was read is remembered, and no image is taken twice.
    """
    with quiet():
        from foveola.server.dicom.pull import Point, by_changes, by_query, has_changes
        from foveola.server.dicom.pull import pull as fetch

        service = web_service(url, credentials, ca, clear=clear, object_mb=object_mb)
        to = answer_to and receiver(answer_to, ae, credentials, ca, clear=clear, object_mb=object_mb)
        place = place_of(archive, folder)
        with (
            open_intake(archive, place, pseudonyms) as intake,
            owed_answers(archive, place, intake, to or None, k=k, link=link) as answers,
        ):
            kept = place / "pull.json"
            point = Point.load(kept, service.fingerprint)
            listed = feed == "orthanc" or (feed == "auto" and has_changes(service))

            def new() -> "Iterator[New]":
                if listed:
                    return by_changes(service, point, classes())
                return by_query(service, point, classes(), days=days, modality=modality)

            dark = [0]  # frames of this pull

            def take(data: bytes) -> bool:
                taken = intake.take(data)
                dark[0] += taken.hardly_gradable
                answers.owe(taken.ids if taken.new else ())
                say_doubts(taken)
                return taken.new

            def once() -> "Pulled":
                dark[0] = 0
                pulled = replace(fetch(new(), take, lambda: point.save(kept)), hardly_gradable=dark[0])
                answers.pay()
                return pulled

            if every is None:
                pulled = once()
                print_pulled(pulled, as_json=as_json)
                if pulled.refused:
                    ctx.exit(PARTLY)
                return
            say(
                {"host": service.host, "every": every},
                f"Foveola asks {service.host} every {every:g} s (Ctrl-C stops it)",
                as_json=as_json,
            )
            repeat(once, every, as_json=as_json)


@pacs.command(epilog="Example: foveola pacs answer archive/ --case 12 --to https://pacs.example/dicom-web")
@archive_argument
@click.option("--case", "id_", type=click.IntRange(1), help="Number of the case asked about.")
@click.option("--sop", help="SOP Instance UID that the image has in the PACS, in place of --case.")
@click.option("--to", required=True, help="URL of the PACS's DICOMweb service, or dicom://AE_TITLE@host:port.")
@click.option("-k", default=10, show_default=True, type=click.IntRange(1, 100), help="How many cases.")
@click.option("--where", help="Condition on the cases: \"grade >= 2 and eye = 'left'\".")
@click.option("--link", help="Address of a case, with {case} for its number, put into the report.")
@click.option("--ae", default="FOVEOLA", show_default=True, help="AE title of ours, for dicom://.")
@web_options
@places
@json_option
@one_line_errors
def answer(
    archive: Path,
    id_: int | None,
    sop: str | None,
    to: str,
    k: int,
    where: str | None,
    link: str | None,
    ae: str,
    credentials: Path | None,
    ca: Path | None,
    clear: bool,
    object_mb: int,
    folder: Path | None,
    pseudonyms: Path | None,
    as_json: bool,
) -> None:
    """Find the cases in ARCHIVE most like one that came from a PACS, and send a report there.

    The report is a DICOM SR (TID 1500) in the study of the image, marked as partial and
    unverified: it supports a clinician, and is no diagnosis.
    """
    if (id_ is None) == (sop is None):
        raise click.UsageError("give either --case or --sop")
    with quiet():
        import_openvino_runtime()
        from foveola.retrieval import Retriever
        from foveola.server.dicom.pseudonyms import Pseudonyms
        from foveola.server.dicom.report import answer as reply
        from foveola.server.dicom.report import case_of

        receiving = receiver(to, ae, credentials, ca, clear=clear, object_mb=object_mb)
        names = pseudonyms_of(place_of(archive, folder), pseudonyms)
        if not names.is_file():
            raise click.ClickException(f"{names} is missing; nothing came from a PACS yet")
        with Retriever.open(archive) as retriever, Pseudonyms(names) as known:
            asked = id_ if id_ is not None else case_of(retriever, known, str(sop))
            answered = reply(retriever, known, asked, receiving, k=k, where=where, link=link)
    print_answered(answered, as_json=as_json)
