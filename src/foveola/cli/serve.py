"""foveola serve."""

import ipaddress
from pathlib import Path

import click

from foveola.cli.output import one_line_errors
from foveola.cli.startup import import_openvino_runtime


@click.command(epilog="Example: foveola serve archive/")
@click.argument("archive", type=click.Path(file_okay=False, path_type=Path))
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", default=8321, show_default=True, type=click.IntRange(0, 65535),
    help="Port; 0 takes any that is free.",
)  # fmt: skip
@click.option(
    "--upload-mb", default=64, show_default=True, type=click.IntRange(1, 4096),
    help="Largest photograph that may be sent.",
)  # fmt: skip
@click.option(
    "--study", type=click.Path(file_okay=False, path_type=Path),
    help="Folder of a reader study to be answered, see foveola study.",
)  # fmt: skip
@one_line_errors
def serve(archive: Path, host: str, port: int, upload_mb: int, study: Path | None) -> None:
    """Open ARCHIVE to a browser on this computer, and to programs.

    Nothing that is sent is kept on the disk. Stop it with Ctrl-C.
    """
    if not is_loopback(host):
        raise click.ClickException(
            f"{host} can be reached from other computers, and this version has no accounts; use "
            "127.0.0.1, and a tunnel or a reverse proxy that asks who somebody is"
        )
    try:
        import uvicorn
    except ImportError:
        raise click.ClickException(
            "the service needs FastAPI and uvicorn; install them: pip install 'foveola[serve]'"
        ) from None
    import_openvino_runtime()
    from foveola.service import create_app

    app = create_app(archive, upload_mb=upload_mb, study=study)
    # without an access log: addresses of pages are nobody's business
    config = uvicorn.Config(app, host=host, port=port, log_level="warning", access_log=False)
    server = uvicorn.Server(config)
    socket = config.bind_socket()
    socket.listen()  # who reads the address below may ask at once
    bound = socket.getsockname()
    click.echo(f"Foveola listens on http://{_shown(bound[0])}:{bound[1]} (Ctrl-C stops it)")
    server.run(sockets=[socket])


def is_loopback(host: str) -> bool:
    """Whether an address is this computer's alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _shown(address: str) -> str:
    return f"[{address}]" if ":" in address else address
