"""Programs that tests ask for beside Python, with the packages of Debian and Ubuntu that have them.

Run as a program, which needs no more than Python's own library, it prints the packages that are
missing here; `.ci/run` installs them.
"""

import os
import shutil
from pathlib import Path

PACKAGES = {
    "caddy": "caddy",
    "chromium": "chromium",
    "dciodvfy": "dicom3tools",
    "dsrdump": "dcmtk",
    "git": "git",
    "make": "make",
    "nginx": "nginx",
    "openssl": "openssl",
    "Orthanc": "orthanc orthanc-dicomweb",
    "systemd-analyze": "systemd",
}
SPELLINGS = {"chromium": ("chromium-browser", "chrome", "google-chrome")}
DICOMWEB = [
    Path(folder, "libOrthancDicomWeb.so") for folder in ("/usr/share/orthanc/plugins", "/usr/lib/orthanc/plugins")
]
PATH = os.pathsep.join(  # Debian keeps nginx and Orthanc from who is not root
    dict.fromkeys([*os.environ.get("PATH", "").split(os.pathsep), "/usr/local/sbin", "/usr/sbin"])
)


def find(program: str) -> str | None:
    """Where a program of PACKAGES is; None where it is not installed."""
    if program == "Orthanc" and not any(path.is_file() for path in DICOMWEB):
        return None
    named = (shutil.which(name, path=PATH) for name in (program, *SPELLINGS.get(program, ())))
    return next(filter(None, named), None)


def without(program: str) -> str:
    """Why a test skips that needs a program; skips.py knows it by these words."""
    return f"needs {program} (apt install {PACKAGES[program]})"


if __name__ == "__main__":
    print(" ".join(packages for program, packages in PACKAGES.items() if find(program) is None))
