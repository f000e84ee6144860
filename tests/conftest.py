"""What every test may ask for: real photographs, and steady hypothesis runs."""

import os
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

import programs
from skips import NO_PHOTOGRAPHS, pytest_make_collect_report, pytest_runtest_makereport, pytest_terminal_summary  # noqa: F401 - hooks

os.environ["PATH"] = programs.PATH

# A slow moment of a busy machine is no failure, and a run can be repeated exactly.
# Look for new examples with: pytest --hypothesis-profile=search
settings.register_profile(
    "steady",
    deadline=None,
    derandomize=True,
    max_examples=50,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("search", deadline=None, max_examples=2000)
settings.load_profile("steady")

SHARED = Path(__file__).parents[2] / "shared" / "data"


# The longest files, which stay on one worker each: begun first, none of them is waited for alone.
LONGEST = (
    "training/test_run.py",
    "training/test_compare.py",
    "matching/test_match.py",
    "training/test_export.py",
    "cli/test_cli.py",
    "server/test_marker.py",
    "server/test_guide.py",
    "server/dicom/test_orthanc.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest files."""
    items.sort(key=lambda item: not item.path.as_posix().endswith(LONGEST))


@pytest.fixture
def unwritten(monkeypatch: pytest.MonkeyPatch) -> None:
    """New arrays hold NaN or -1, not the result of the run before that lay in the same memory."""

    def spoilt(shape: object, dtype: object = float) -> object:
        kind = np.dtype(dtype).kind  # type: ignore[call-overload]
        return np.full(shape, np.nan if kind == "f" else -1, dtype)  # type: ignore[call-overload]

    monkeypatch.setattr(np, "empty", spoilt)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real photographs beside the repository; never part of it."""
    if not SHARED.is_dir():
        pytest.skip(NO_PHOTOGRAPHS)
    return SHARED


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Manifest of 8 phantom people, two visits each with both eyes: 32 small photographs."""
    from foveola.phantom import generate

    folder = tmp_path_factory.mktemp("phantoms")
    return generate(folder, subjects=8, visits=2, seed=11, size=256, masks=False)


@pytest.fixture(scope="session")
def learnt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of an archive of 40 phantom people that has learnt grade and findings.

    Of every tenth of its 80 photographs no label is known. Beside it lie the photographs of 12
    other people, in new/images.
    """
    from dataclasses import replace

    from foveola.archive import Archive
    from foveola.datasets.manifest import Manifest
    from foveola.indexing import add_missing
    from foveola.learned import learn_archive
    from foveola.phantom import generate

    folder = tmp_path_factory.mktemp("learnt")
    known = generate(folder / "known", subjects=40, visits=1, seed=5, size=256, masks=False)
    generate(folder / "new", subjects=12, visits=1, seed=77, size=256, masks=False)
    cases = [
        replace(case, grade=None, findings=None) if i % 10 == 3 else case
        for i, case in enumerate(Manifest.read(known, collection="p").cases())
    ]
    add_missing(folder / "archive", cases)
    with Archive.open(folder / "archive") as archive:
        assert list(learn_archive(archive).labels) == ["grade", "findings"]
    return folder / "archive"


@pytest.fixture(scope="session")
def new_photographs(learnt: Path) -> list[Path]:
    """Photographs of people whom that archive does not hold."""
    return sorted((learnt.parent / "new/images").iterdir())


@pytest.fixture(scope="session")
def made_reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a released reader with random weights, which reads N, D and G."""
    from foveola.training.export import export_reader
    from made_readers import config_of, run_of

    folder = tmp_path_factory.mktemp("reader") / "made-reader"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # OpenVINO's tracing
        return export_reader(run_of(config_of()), folder, config_of())
