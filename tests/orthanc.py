"""A real Orthanc for tests: Debian's packages orthanc and orthanc-dicomweb."""

import contextlib
import json
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

from programs import DICOMWEB
from skips import need

TITLE = "ORTHANC"
# Sends on what it gets, but reports; as in docs/how-to/pacs.md.
ROUTE = """
function OnStoredInstance(id, tags, metadata)
   if tags['Modality'] ~= 'SR' then SendToModality(id, 'foveola') end
end
"""


@dataclass(frozen=True)
class Orthanc:
    """A running one: addresses of its own interface and of DICOMweb, DICOM port, its log."""

    url: str
    port: int
    log: Path

    @property
    def web(self) -> str:
        return f"{self.url}/dicom-web"

    @property
    def node(self) -> str:
        return f"dicom://{TITLE}@127.0.0.1:{self.port}"

    def ask(self, path, body=None, method=None):
        """JSON of an address of its own interface."""
        data = None if body is None else json.dumps(body).encode()
        request = Request(f"{self.url}{path}", data=data, method=method)
        with urlopen(request, timeout=60) as answer:
            said = answer.read()
        return json.loads(said) if said.strip() else None


def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return bound.getsockname()[1]


@contextlib.contextmanager
def running(folder: Path):
    """Start an Orthanc and stop it; skips where it is not installed."""
    program = need("Orthanc")
    plugin = next(path for path in DICOMWEB if path.is_file())
    web, dicom, log = free_port(), free_port(), folder / "orthanc.log"
    store = str(folder / "db")
    config = {
        "Name": "test",
        "StorageDirectory": store,
        "IndexDirectory": store,
        "HttpPort": web,
        "DicomPort": dicom,
        "DicomAet": TITLE,
        "Plugins": [str(plugin)],
        "AuthenticationEnabled": False,
        "RemoteAccessAllowed": False,
        "DicomCheckCalledAet": True,
        "DicomAlwaysAllowFind": True,
        "DicomAlwaysAllowStore": True,
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
        "LuaScripts": [str(folder / "route.lua")],
    }
    (folder / "route.lua").write_text(ROUTE)
    (folder / "orthanc.json").write_text(json.dumps(config))
    with (
        log.open("wb") as out,
        subprocess.Popen(
            [program, folder / "orthanc.json"], stdout=out, stderr=subprocess.STDOUT, cwd=folder
        ) as process,
    ):
        try:
            orthanc = Orthanc(f"http://127.0.0.1:{web}", dicom, log)
            _wait(orthanc, process)
            yield orthanc
        finally:
            process.terminate()
            process.wait(60)


def _wait(orthanc: Orthanc, process: "subprocess.Popen[bytes]") -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        assert process.poll() is None, orthanc.log.read_text()
        with contextlib.suppress(URLError, ConnectionError):
            orthanc.ask("/system")
            return
        time.sleep(0.1)
    raise AssertionError("Orthanc did not start within a minute")
