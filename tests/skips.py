"""Which tests were skipped and how to have them: one line at the end, and none where CI=true."""

import os
import re
from collections import Counter
from collections.abc import Generator
from typing import Any

import pytest

import programs

NO_PHOTOGRAPHS = "needs ../shared/data"  # which lies beside the repository; never part of it
WANTING = re.compile(r"needs (\S+ \(apt install [^)]*\))|could not import '([^']*)'")
OTHER = "can't be run here (-ra says why)"


def needs(*names: str) -> pytest.MarkDecorator:
    """Skip a test where one of these programs is missing."""
    missing = [programs.without(name) for name in names if programs.find(name) is None]
    return pytest.mark.skipif(bool(missing), reason=" and ".join(missing))


def need(name: str) -> str:
    """Where a program is; skips the test that asks where it is missing."""
    if (found := programs.find(name)) is None:
        pytest.skip(programs.without(name))
    return found


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, Any, Any]:
    return _never_in_ci((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, Any, Any]:
    return _never_in_ci((yield))  # a whole file, by importorskip


def _never_in_ci(report: Any) -> Any:
    """A test skipped for want of something that can be installed has failed there."""
    reason = _reason(report)
    if os.environ.get("CI") == "true" and reason and WANTING.search(reason):
        report.outcome, report.longrepr = "failed", f"{reason}; with CI=true nothing may be missing"
    return report


def _reason(report: Any) -> str:
    """Why a test was skipped; "" where it was not."""
    if not report.skipped or not isinstance(report.longrepr, tuple):
        return ""
    return str(report.longrepr[2]).removeprefix("Skipped: ")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    reasons = [_reason(report) for report in terminalreporter.getreports("skipped")]
    if any(reasons):
        terminalreporter.write_line(told([reason for reason in reasons if reason]))


def told(reasons: list[str]) -> str:
    """What was skipped, the most frequent want first, in one line."""
    wants = Counter(want for reason in reasons for want in _wants(reason))
    return f"skipped {len(reasons)}: " + ", ".join(f"{count} {want}" for want, count in wants.most_common())


def _wants(reason: str) -> list[str]:
    if reason == NO_PHOTOGRAPHS:
        return [reason.replace("needs", "need")]
    return [
        f"need {program}" if program else f"need {library} (pip install 'foveola[dev]')"
        for program, library in WANTING.findall(reason)
    ] or [OTHER]
