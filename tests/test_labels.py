import pytest

from foveola.labels import finding_word, grade_word, label_word, percent, visit_word


def test_grades_have_their_icdr_names():
    assert [grade_word(g) for g in (0, 1, 2, 3, 4, None)] == [
        *("no DR", "mild NPDR", "moderate NPDR", "severe NPDR", "PDR", "unlabelled")
    ]
    assert grade_word(7) == "grade 7"


def test_letters_of_odir_are_spelled_out_and_words_stay():
    assert [finding_word(f) for f in "NDGCAHMO"] == [
        *("normal", "diabetes", "glaucoma", "cataract", "AMD", "hypertension", "myopia", "other")
    ]
    assert finding_word("macular_hole") == "macular hole"


@pytest.mark.parametrize(
    ("visit", "word"),
    [(0, "first visit"), (6.0, "month 6"), (1.5, "month 1.5"), ("2020-01-02", "2020-01-02"), (None, None), ("", None)],
)
def test_visits_are_months_or_dates(visit, word):
    assert visit_word(visit) == word


@pytest.mark.parametrize(
    ("label", "value", "word"),
    [("grade", "3", "severe NPDR"), ("grade", "x", "x"), ("findings", "G", "glaucoma"), ("dme", "2", "2")],
)
def test_label_values_are_put_in_words(label, value, word):
    assert label_word(label, value) == word


def test_no_probability_is_said_to_be_certain():
    said = [percent(p) for p in (0.0, 0.009, 0.01, 0.494, 0.99, 0.991, 1.0)]
    assert said == ["< 1 %", "< 1 %", "1 %", "49 %", "99 %", "> 99 %", "> 99 %"]
