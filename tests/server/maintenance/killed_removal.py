"""Remove or forget a person, killed at one step after another; run by test_removal.py.

Usage: killed_removal.py KEPT ASIDE remove|forget STEP, where KEPT holds the toy archive A.
Prints how many kills there were.
"""

import os
import shutil
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from foveola.archive import database
from foveola.archive.removals import are_pending
from foveola.errors import ArchiveError
from foveola.server.maintenance import finish_removals, remove_cases
from foveola.server.maintenance.remove import forget
from server.maintenance.toy_archive import GONE, found_of, state

EVENTS = ("open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate")
left = 0


def count(*_):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)


def hook(event, _):
    if event in EVENTS:
        count()


def watched(*arguments, connect=database._connect):
    db = connect(*arguments)
    db.set_trace_callback(count)
    return db


def act(folder, way):
    if way == "forget":
        return forget(folder, "subject-P1").cases
    return remove_cases(folder, subject="subject-P1", learn=True)


def killed(folder, way, step):
    """Whether it was killed at this step, and did not end before."""
    global left
    if (child := os.fork()) == 0:
        left = step
        database._connect = watched
        sys.addaudithook(hook)
        act(folder, way)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    assert status in (0, signal.SIGKILL), status
    return status != 0


def main(kept, aside, way, step):
    folder, whole = kept / "A", aside / "whole"
    shutil.copytree(kept, whole)
    try:
        act(folder, way)
        wanted, kills, at = state(folder), 0, 1
        while True:
            shutil.rmtree(kept)
            shutil.copytree(whole, kept)
            if not killed(folder, way, at):
                break
            kills, begun = kills + 1, are_pending(folder)
            if begun:
                assert found_of(folder) == [], (at, found_of(folder))
            if begun and kills % 3 == 0:  # whoever opens it next
                assert finish_removals(folder) == len(GONE)
            try:
                again = act(folder, way)
                assert again == (GONE if way == "forget" else len(GONE)), (at, again)
            except ArchiveError as error:  # it was all done, but for saying so
                assert "no case of this subject" in str(error), (at, error)  # noqa: PT017
            assert state(folder) == wanted, at
            at += step
        print(kills)
    finally:
        shutil.rmtree(kept)
        shutil.copytree(whole, kept)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
