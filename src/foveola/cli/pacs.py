"""foveola pacs: listen, pull, answer."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from foveola.cli.output import PARTLY, json_option, one_line_errors, say
from foveola.cli.pacs_parts import (
    answer_options,
    classes,
    complain,
    open_intake,
    owed_answers,
    place_of,
    places,
    print_answered,
    print_pulled,
    pseudonyms_of,
    quiet,
    receiver,
    repeat,
    say_doubts,
    say_taken,
    stop_on_signals,
    web_options,
    web_service,
)
from foveola.cli.serve import is_loopback
from foveola.cli.startup import import_openvino_runtime

if TYPE_CHECKING:
    from collections.abc import Iterator

    from foveola.server.dicom.pull import New, Pulled


@click.group(epilog="Example: foveola pacs listen archive/ --allow ORTHANC")
def pacs() -> None:
    """Take photographs from a PACS, and send it back what is similar."""


ARCHIVE = click.argument("archive", type=click.Path(file_okay=False, path_type=Path))


@pacs.command(epilog="Example: foveola pacs listen archive/ --allow ORTHANC")
@ARCHIVE
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
@ARCHIVE
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
@ARCHIVE
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
