"""Take one object in and be killed at a step; run by test_intake.py.

Usage: killed_intake.py FOLDER STEP, where FOLDER holds object.dcm
"""

import os
import signal
import sys
from pathlib import Path

from foveola.server.dicom.intake import Intake
from foveola.server.dicom.pseudonyms import Pseudonyms


def kill(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)


def main(folder, step):
    data = (folder / "object.dcm").read_bytes()
    if step == "reserved":
        Intake._write = kill
    if step == "stored":
        Intake._index = kill
    if step == "indexed":
        Pseudonyms.indexed = kill
    if step == "half written":
        Path.replace = kill
    Intake(folder / "A", folder / "store", folder / "names.db").take(data)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
