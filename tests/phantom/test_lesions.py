from collections import Counter

import numpy as np
import pytest

from foveola.phantom import make_eye, make_subject, progress
from foveola.phantom.lesions import quadrant


@pytest.fixture(scope="module")
def eyes():
    return [make_eye(make_subject(3, n), "left" if n % 2 else "right") for n in range(24)]


def bleedings(disease) -> Counter:
    return Counter(quadrant(x.at) for x in disease.lesions if x.kind == "HE")


def diabetic(disease) -> set[str]:
    return {x.kind for x in disease.lesions} - {"drusen"}


def test_grade_0_has_no_diabetic_lesion(eyes):
    assert all(diabetic(progress(eye, [0])) == set() for eye in eyes)


def test_grade_1_has_microaneurysms_only(eyes):
    assert all(diabetic(progress(eye, [1] * v)) == {"MA"} for eye in eyes for v in (1, 4))


def test_grade_2_has_more_than_microaneurysms_and_less_than_grade_3(eyes):
    for eye in eyes:
        for visits in (1, 5):
            disease = progress(eye, [2] * visits)
            assert {"MA", "HE"} <= diabetic(disease) <= {"MA", "HE", "EX", "SE"}
            assert disease.count("HE") <= 20
            assert disease.beading == ()


def test_grade_3_meets_the_4_2_1_rule_and_has_nothing_of_grade_4(eyes):
    met = Counter()
    for eye in eyes:
        disease = progress(eye, [3])
        counts = bleedings(disease)
        rules = {
            "4": min(counts[q] for q in range(4)) > 20,
            "2": len(set(disease.beading)) >= 2,
            "1": disease.count("IRMA") >= 1,
        }
        assert any(rules.values())
        assert not diabetic(disease) & {"NV", "preretinal"}
        met.update(name for name, holds in rules.items() if holds)
    assert set(met) == {"4", "2", "1"}  # each of the three ways occurs


def test_grade_4_has_new_vessels_or_preretinal_blood(eyes):
    for eye in eyes:
        assert diabetic(progress(eye, [4])) & {"NV", "preretinal"}
        assert diabetic(progress(eye, [0, 2, 4, 4])) & {"NV", "preretinal"}


def test_most_lesions_stay_and_new_ones_come(eyes):
    stayed, before, came = 0, 0, 0
    for eye in eyes:
        first, second = ({(x.kind, x.key) for x in progress(eye, h).lesions} for h in ([2], [2, 3]))
        stayed += len(first & second)
        before += len(first)
        came += len(second - first)
    assert 0.7 < stayed / before < 0.97
    assert came > before


def test_a_visit_only_continues_the_ones_before(eyes):
    # Lesions seen at the first and at the third visit were there at the second as well.
    for eye in eyes:
        a, b, c = ({x.key for x in progress(eye, h).lesions} for h in ([3], [3, 3], [3, 3, 4]))
        assert a & c <= b


def test_lesions_keep_off_the_disc_and_apart_from_each_other(eyes):
    for eye in eyes:
        spots = [x.at for x in progress(eye, [3]).lesions if x.kind == "HE"]
        far = np.hypot(*(np.array(spots) - eye.disc).T)
        assert far.min() > sum(eye.disc_axes) / 2
        gaps = [np.hypot(a[0] - b[0], a[1] - b[1]) for i, a in enumerate(spots) for b in spots[:i]]
        assert min(gaps) > 0.01


def test_drusen_come_with_age_and_stay():
    for n in range(200):
        subject = make_subject(0, n)
        years = subject.drusen_age - subject.age
        if 0 < years < 30:
            break
    eye = make_eye(subject, "right")
    months = [0, int(12 * years) + 13, int(12 * years) + 60]
    none, some, more = (progress(eye, [0] * v, months[:v]) for v in (1, 2, 3))
    assert none.findings() == "N"
    assert some.findings() == "A"
    assert {x.key for x in some.lesions} <= {x.key for x in more.lesions}


@pytest.mark.parametrize(
    ("history", "says"), [([], "at least one visit"), ([5], "grades 0 to 4"), ([2, 1], "never falls")]
)
def test_an_impossible_history_is_refused(history, says, eyes):
    with pytest.raises(ValueError, match=says):
        progress(eyes[0], history)
