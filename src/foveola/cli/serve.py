"""foveola serve."""

import contextlib
import gc
import ipaddress
import os
import socket
import ssl
import threading
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from foveola.cli.output import archive_argument, import_openvino_runtime, json_option, one_line_errors, say
from foveola.errors import FoveolaError
from foveola.server.limits import CONNECTIONS, EVERYBODY, Shares
from foveola.server.startup import StartupApp

if TYPE_CHECKING:
    import uvicorn
    from fastapi import FastAPI

    from foveola.retrieval import Retriever


OWN = ("127.0.0.1", "localhost", "::1")


@click.command(epilog="Example: foveola serve archive/")
@archive_argument
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on; others than this computer's need accounts.",
)
@click.option(
    "--port", default=8321, show_default=True, type=click.IntRange(0, 65535), help="Port; 0 takes any that is free."
)
@click.option(
    "--host-name", "names", multiple=True, help="Name by which browsers call it, behind a proxy say; repeatable."
)
@click.option("--behind-proxy", is_flag=True, help="A proxy on this computer says who asks (X-Forwarded-For, -Proto).")
@click.option(
    "--certificate",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="PEM file with a certificate, to speak TLS without a proxy.",
)
@click.option("--key", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="PEM file with its key.")
@click.option(
    "--upload-mb",
    default=64,
    show_default=True,
    type=click.IntRange(1, 4096),
    help="Largest photograph that may be sent.",
)
@click.option(
    "--import-root",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder here that programs may import photographs from.",
)
@click.option(
    "--study",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of a reader study to be answered, see foveola study.",
)
@click.option(
    "--rate",
    default=20.0,
    show_default=True,
    type=click.FloatRange(0.1),
    help="Requests a second that an account may make for long.",
)
@click.option(
    "--connections",
    default=CONNECTIONS,
    show_default=True,
    type=click.IntRange(1),
    help="Connections that one address may hold at once.",
)
@click.option(
    "--searches",
    default=4,
    show_default=True,
    type=click.IntRange(1, 256),
    help="Photographs encoded or compared at the same time.",
)
@json_option
@one_line_errors
def serve(
    archive: Path,
    host: str,
    port: int,
    names: tuple[str, ...],
    behind_proxy: bool,
    certificate: Path | None,
    key: Path | None,
    upload_mb: int,
    import_root: Path | None,
    study: Path | None,
    rate: float,
    connections: int,
    searches: int,
    as_json: bool,
) -> None:
    """Open ARCHIVE to a browser on this computer, and to programs.

    Photographs that are asked about are not kept on the disk; those that a program adds to the
    archive are. An archive with accounts (foveola accounts) is shown to who logs in only, and may
    listen on other addresses. Stop it with Ctrl-C.
    """
    if (certificate is None) != (key is None):
        raise click.UsageError("give --certificate and --key together")
    if any(find_spec(name) is None for name in ("fastapi", "uvicorn")):
        raise click.ClickException("the service needs FastAPI and uvicorn; install them: pip install 'foveola[serve]'")
    if certificate is not None:
        _check_certificate(certificate, key)
    _refuse_open_doors(archive, host)
    listener = _listening(host.strip("[]"), port)
    own = frozenset((*OWN, host.strip("[]").lower(), *(name.lower() for name in names)))

    def make() -> "FastAPI":
        retriever = prepare_service(archive)
        from foveola.learned import unlearnt
        from foveola.server import Settings, create_app

        settings = Settings(
            host_names=own,
            behind_proxy=behind_proxy,
            rate=rate,
            burst=15 * rate,
            searches=searches,
            connections=connections,
        )
        app = create_app(
            archive, upload_mb=upload_mb, import_root=import_root, study=study, settings=settings, retriever=retriever
        )
        for line in unlearnt(retriever.archive):
            click.echo(line, err=True)
        service_is_ready()
        return app

    faults = []

    def told(fault: Exception | None) -> None:
        if fault is None:
            _say_where(listener, host, encrypted=certificate is not None, as_json=as_json)
        else:
            faults.append(fault)
            server.should_exit = True

    protocol = partial(_timed, shares=Shares(EVERYBODY, connections), behind_proxy=behind_proxy)
    server = _server(StartupApp(make, told, own), protocol, certificate, key)
    with contextlib.suppress(KeyboardInterrupt):  # it has ended as it should, and raises it again
        server.run(sockets=[listener])
    if faults:
        raise faults[0]


def _timed(*arguments: Any, **named: Any) -> Any:
    from foveola.server.timeouts import TimedProtocol

    return TimedProtocol(*arguments, **named)


def _server(app: "StartupApp", protocol: Any, certificate: Path | None, key: Path | None) -> "uvicorn.Server":
    import uvicorn

    from foveola.server.errors import LOGS
    from foveola.server.timeouts import HEAD_BYTES

    config = uvicorn.Config(
        app,
        log_level="warning",
        log_config=LOGS,
        http=protocol,
        ws="none",
        lifespan="on",
        access_log=False,  # addresses of pages are nobody's business
        proxy_headers=False,  # the doors read them, and only if told to
        server_header=False,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=10,
        limit_concurrency=EVERYBODY,
        h11_max_incomplete_event_size=HEAD_BYTES,
        ssl_certfile=certificate,
        ssl_keyfile=key,
    )
    return uvicorn.Server(config)


def _say_where(listener: socket.socket, host: str, *, encrypted: bool, as_json: bool) -> None:
    bound = listener.getsockname()
    scheme = "https" if encrypted else "http"
    url = f"{scheme}://{_shown(bound[0])}:{bound[1]}"
    say({"url": url}, f"Foveola listens on {url} (Ctrl-C stops it)", as_json=as_json)
    if not is_loopback(host) and not encrypted:
        click.echo(
            "passwords and photographs cross the network unencrypted; put a proxy with TLS before "
            "it, or give --certificate and --key",
            err=True,
        )


def _check_certificate(certificate: Path, key: Path | None) -> None:
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certificate, key, password=str)
    except (ssl.SSLError, OSError) as error:
        why = getattr(error, "reason", None) or "not PEM"
        raise click.ClickException(
            f"--certificate {certificate} and --key {key} can't be used together ({why}); expected "
            "a certificate and its own key without a password, both as PEM"
        ) from None


def _listening(host: str, port: int) -> socket.socket:
    """Where requests arrive: at once, so that who asks too soon waits and is not refused."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        why = str(error.strerror).partition(" (")[0]  # Python repeats the address in it
        raise click.ClickException(
            f"{_shown(host)}:{port} can't be listened on ({why}); choose another --port "
            "or --host, or stop what listens there"
        ) from None


def _refuse_open_doors(archive: Path, host: str) -> None:
    """Keep an archive without accounts on this computer, and one without any left shut."""
    from foveola.server.auth import FILE, Accounts

    if not (archive / FILE).exists():
        if not is_loopback(host):
            raise click.ClickException(
                f"{host} can be reached from other computers, and {archive} has no accounts; make "
                f"one with: foveola accounts add {archive} NAME --role admin"
            )
        return
    with Accounts(archive) as accounts:
        if not accounts.everyone():
            raise click.ClickException(
                f"all accounts of {archive} were removed, so nobody could log in; make one with: "
                f"foveola accounts add {archive} NAME --role admin"
            )


def is_loopback(host: str) -> bool:
    """Return whether an address is this computer's alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _shown(address: str) -> str:
    return f"[{address}]" if ":" in address else address


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
    with contextlib.suppress(FoveolaError):  # the service finds the same, and says so when it is asked
        retriever.warm()


def service_is_ready() -> None:
    """After that: collect garbage again, but never look at what stays for ever."""
    gc.enable()
    gc.freeze()
