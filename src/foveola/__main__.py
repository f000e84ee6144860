"""`python -m foveola` is the command `foveola`."""

from foveola.cli import main

main()
