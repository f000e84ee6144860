"""Networks are compiled in a thread, for the cores they may use."""

import os

import pytest

from foveola.encoders.compiling import Cores, begun
from foveola.errors import EncoderError


def test_all_cores_are_taken_unless_some_are_said():
    assert Cores.of() == (len(os.sched_getaffinity(0)), 1)
    assert Cores.of(3, together=2) == (3, 2)


@pytest.mark.parametrize(("cores", "streams"), [((4, 1), 4), ((4, 2), 2), ((1, 2), 1)])
def test_cores_that_work_together_make_one_stream(cores, streams):
    settings = Cores(*cores).settings()
    assert settings["NUM_STREAMS"] == streams
    assert settings["INFERENCE_NUM_THREADS"] == cores[0]


def test_what_openvino_refuses_is_one_sentence_when_it_is_used():
    def refused():
        raise RuntimeError("Exception from core.cpp:117:\nno such operation\n")

    future = begun("reader 'x'", refused)
    with pytest.raises(EncoderError, match=r"^reader 'x' can't be run: no such operation$"):
        future.result()


def test_any_other_fault_is_kept_as_it_is():
    def wrong():
        raise KeyError("layer")

    with pytest.raises(KeyError, match="layer"):
        begun("reader 'x'", wrong).result()
