import pytest

from foveola.errors import ArchiveError, EncoderError, ImageError, PacsError
from foveola.server.dicom.answers import GIVEN_UP, IN_A_ROW, Answers


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def said():
    return []


def test_every_report_is_sent_once(tmp_path, said, clock):
    sent = []
    answers = Answers(tmp_path / "answers", sent.append, said.append, clock)
    answers.owe((3, 1))
    answers.owe((2,))
    assert answers.pay() == 0
    assert sorted(sent) == [1, 2, 3]
    assert answers.pay() == 0
    assert (len(sent), said) == (3, [])


def test_what_is_owed_outlives_the_process(tmp_path, said, clock):
    Answers(tmp_path, lambda id_: None, said.append, clock).owe((7,))
    sent = []
    Answers(tmp_path, sent.append, said.append, clock).pay()
    assert sent == [7]


@pytest.mark.parametrize("kind", [PacsError, ArchiveError, EncoderError, OSError])
def test_what_fails_for_now_is_told_once_and_given_up_after_a_day(tmp_path, said, clock, kind):
    def reply(id_):
        raise kind("nobody there")

    answers = Answers(tmp_path, reply, said.append, clock)
    answers.owe((5,))
    assert [answers.pay() for _ in range(3)] == [1, 1, 1]
    assert said == ["reports wait: nobody there"]
    clock.now += GIVEN_UP
    assert answers.pay() == 0
    assert said[1:] == ["the report on case 5 is given up: nobody there"]


def test_what_can_never_be_sent_is_dropped(tmp_path, said, clock):
    def reply(id_):
        raise ImageError("the photograph is gone")

    answers = Answers(tmp_path, reply, said.append, clock)
    answers.owe((5,))
    assert answers.pay() == 0
    assert said == ["there is no report on case 5: the photograph is gone"]


def test_some_that_fail_do_not_keep_the_others_from_their_turn(tmp_path, said, clock):
    sent, tried = [], []

    def reply(id_):
        tried.append(id_)
        if id_ <= 2 * IN_A_ROW:
            raise PacsError("it does not know the image")
        sent.append(id_)

    answers = Answers(tmp_path, reply, said.append, clock)
    answers.owe(range(1, 2 * IN_A_ROW + 2))
    assert answers.pay() >= 2 * IN_A_ROW
    assert len(tried) <= IN_A_ROW + 1 + IN_A_ROW
    for _ in range(3):
        answers.pay()
    assert sent == [2 * IN_A_ROW + 1]


def test_nothing_is_owed_where_nobody_wants_it(tmp_path, said, clock):
    answers = Answers(tmp_path / "answers", None, said.append, clock)
    answers.owe((1, 2))
    assert answers.pay() == 0
    assert list(tmp_path.iterdir()) == []
