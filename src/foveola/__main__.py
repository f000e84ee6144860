"""The command `foveola`, and `python -m foveola`."""

import signal

# Until there is a command to end, Ctrl-C ends the process, without a traceback of imports.
_begun = signal.getsignal(signal.SIGINT) is signal.default_int_handler
if _begun:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from foveola.cli import main as _main  # noqa: E402 - after that


def main() -> None:
    """Run the command that was typed."""
    if _begun:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    _main()


if __name__ == "__main__":
    main()
