"""What is learnt of labels: from whom, by folds of whole people, and to the last bit."""

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foveola.relevance import learn as module
from foveola.relevance.calibrate import Calibrated, Scaling
from foveola.relevance.labels import LabelTable, codes_of
from foveola.relevance.learn import (
    ENOUGH,
    FOLDS,
    KNOWN,
    LEAST_PEOPLE,
    PENALTIES,
    Prior,
    TooFewError,
    folds,
    learn,
    learnable,
)
from foveola.relevance.linear import Linear, balanced, fit_linear, softmax
from foveola.relevance.order import logits_apart
from relevance.made import found, graded, unit_rows

PRIOR_D = 16


def table_of(*values, label="grade"):
    return LabelTable.of(label, [None if v is None else set(v) for v in values])


def prior_of(values, weights=None, slope=1.0):
    """A classifier as an encoder brings it."""
    K = len(values)
    weights = np.zeros((PRIOR_D, K)) if weights is None else weights
    scaling = Scaling(np.full(K, slope), np.arange(K) / 10)
    told = Calibrated(scaling, scaling, None, people=321)
    return Prior(tuple(values), Linear(weights.astype(np.float32), np.zeros(K, np.float32)), told)


def bits(made):
    """Everything that was learnt, as bytes."""
    told = made.calibrated
    parts = [each for one in (made.linear, *made.apart) for each in (one.weights, one.bias)]
    parts += [each for one in (told.even, told.natural) for each in (one.slope, one.shift)]
    curve = None if told.curve is None else tuple(getattr(told.curve, f.name) for f in fields(told.curve))
    return [part.tobytes() for part in parts], made.values, curve, told.people, told.new, made.cases


# Folds


@st.composite
def archives(draw):
    people = draw(st.lists(st.integers(0, 30), min_size=1, max_size=80))
    label = draw(st.sampled_from(["grade", "findings"]))
    value = st.sampled_from("01234")
    one = st.frozensets(value, min_size=1, max_size=1)
    several = st.frozensets(value, max_size=3)
    recorded = draw(st.lists(one if label == "grade" else several, min_size=len(people), max_size=len(people)))
    return LabelTable.of(label, recorded), codes_of(people)


@given(archives())
def test_folds_never_divide_a_person_and_are_nearly_as_large(made):
    table, people = made
    dealt = folds(table, people)
    assert dealt.min() >= 0
    assert dealt.max() < FOLDS
    of_person = {}
    for person, fold in zip(people.tolist(), dealt.tolist(), strict=True):
        assert of_person.setdefault(person, fold) == fold
    counts = np.bincount(list(of_person.values()), minlength=FOLDS)
    assert counts.max() - counts.min() <= 1


@given(archives(), st.integers(1, 9))
def test_folds_depend_on_labels_and_the_order_of_people_only(made, step):
    table, people = made
    again = folds(table, people)
    renamed = folds(table, people * step + 17)  # other numbers in the same order
    assert renamed.tolist() == again.tolist()


@pytest.mark.parametrize("seed", range(5))
def test_folds_spread_the_people_of_each_value(seed):
    rng = np.random.default_rng(seed)
    value = rng.permutation(np.repeat([0, 1, 2, 3], [100, 23, 23, 7]))
    dealt = folds(table_of(*(str(v) for v in value)), np.arange(len(value)))
    for v in range(4):
        counts = np.bincount(dealt[value == v], minlength=FOLDS)
        assert counts.max() - counts.min() <= 1


def test_values_as_common_as_each_other_are_spread_too():
    """In an order that would put one of them into a single fold if they were dealt as one."""
    value = ["0"] + ["1"] * (FOLDS - 1)
    value = value * 6 + ["0"] * (6 * (FOLDS - 2))
    dealt = folds(table_of(*value), np.arange(len(value)))
    counts = np.bincount(dealt[np.array(value) == "1"], minlength=FOLDS)
    assert counts.max() - counts.min() <= 1


# The leak


def marked(count=90, seed=0):
    """Each person has a direction of their own and a label drawn by lot: nothing can be learnt.

    The two photographs of a person are all but equal, so that a fit with one of them knows the
    other, and one with both knows both.
    """
    rng = np.random.default_rng(seed)
    people = np.arange(2 * count) // 2
    x = np.zeros((len(people), count))
    x[np.arange(len(people)), people] = 1
    x += 0.01 * rng.normal(size=x.shape)
    value = rng.permutation(np.arange(count) % 3)
    return unit_rows(x), table_of(*(str(v) for v in value[people])), people


def accuracy(x, table, people):
    """Share of cases whose recorded value is the likeliest to those who did not see them."""
    made = learn(x, table, people)
    logits = made.logits(x, made.fold)
    told = made.wanted(logits).argmax(axis=1)
    return (told == table.members.argmax(axis=1)).mean(), made


def test_of_labels_drawn_by_lot_nothing_is_known_of_a_person_left_out():
    right, made = accuracy(*marked())
    assert right < 1 / 3 + 0.17  # three deviations above chance, of 90 people
    assert made.shares(made.logits(marked()[0], made.fold)).max() < 0.75


def test_a_leak_would_be_seen(monkeypatch):
    """The same with the fit to everyone in place of that without the person."""
    monkeypatch.setattr(module, "logits_apart", lambda whole, apart, fold, x: whole.logits(x))
    monkeypatch.setattr("foveola.relevance.order.logits_apart", lambda whole, apart, fold, x: whole.logits(x))
    assert accuracy(*marked())[0] > 0.9


def test_folds_that_divide_people_would_be_seen(monkeypatch):
    monkeypatch.setattr(module, "folds", lambda labels, people: np.arange(len(people)) % FOLDS)
    assert accuracy(*marked())[0] > 0.9


@pytest.mark.parametrize("make", [graded, found])
def test_each_fit_apart_is_that_of_an_archive_without_its_fold(make):
    """Whatever the people of a fold look like and have, the fit without them is the same."""
    x, table, people = make(160)
    made = learn(x, table, people)
    for k in range(FOLDS):
        own = made.fold == k
        assert own.any()
        members = table.members.copy()
        members[own] = np.roll(members[own], 1, axis=1)
        begun = fit_linear(
            x[~own],
            members[~own],
            balanced(members[~own], table.link),
            link=table.link,
            penalty=chosen_penalty(x, table, people),
        )
        assert made.apart[k].logits(x) == pytest.approx(begun.logits(x), abs=0.05)


def chosen_penalty(x, table, people):
    return module._choose(x, table, folds(table, people), None)[0]


def test_where_no_start_could_leak_either():
    """A fit that begins at one which saw the person would keep a trace of them."""
    x, table, people = graded(160)
    dealt = folds(table, people)
    seen = []
    real = module.fit_linear

    def spy(descriptors, *rest, start=None, **more):
        made = real(descriptors, *rest, start=start, **more)
        seen.append((start, made, {row.tobytes() for row in descriptors}))
        return made

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "fit_linear", spy)
        learn(x, table, people)
    taught = {id(made): rows for _, made, rows in seen}
    begun = [(start, rows) for start, _, rows in seen if start is not None]
    assert len(begun) > FOLDS
    for start, rows in begun:
        assert taught[id(start)] <= rows
    assert len({len(rows) for *_, rows in seen}) > 1
    assert dealt.max() == FOLDS - 1


# The choice


@pytest.mark.parametrize("make", [graded, found])
@pytest.mark.parametrize("signal", [0.0, 0.4, 3.0])
def test_the_penalty_is_nearly_as_good_as_the_best_of_all(make, signal):
    x, table, people = make(200, signal=signal)
    dealt = folds(table, people)
    chosen = np.atleast_1d(chosen_penalty(x, table, people))
    slow = np.array([held_out_loss(x, table, dealt, penalty) for penalty in PENALTIES])
    for column, penalty in enumerate(chosen):
        of = slow[:, column]
        assert of[PENALTIES.index(penalty)] <= of.min() + 0.02 * abs(of.min())


def held_out_loss(x, table, dealt, penalty):
    """Mean weighted loss of each case by a cold fit without its fold; per finding, or as one."""
    weights = balanced(table.members, table.link)
    total = np.zeros(1 if table.link == "softmax" else table.members.shape[1])
    for k in range(FOLDS):
        own = dealt == k
        there = balanced(table.members[~own], table.link)
        made = fit_linear(x[~own], table.members[~own], there, link=table.link, penalty=penalty)
        for i in np.flatnonzero(own):
            z = made.logits(x[i : i + 1])[0]
            has = table.members[i]
            if table.link == "softmax":
                total += -np.log(softmax(z)[has][0]) * weights[i]
            else:
                total += np.log1p(np.exp(np.where(has, -z, z))) * weights[i]
    return total / len(x)


def test_the_choice_on_some_cases_is_about_that_on_all(monkeypatch):
    x, table, people = graded(400, signal=0.5)
    whole = PENALTIES.index(chosen_penalty(x, table, people))
    monkeypatch.setattr(module, "MOST", 150)
    assert abs(PENALTIES.index(chosen_penalty(x, table, people)) - whole) <= 2


@pytest.mark.parametrize("penalties", [(1.0,), (3.0, 1.0), (30.0, 3.0, 0.3)])
def test_any_number_of_penalties_can_be_tried(monkeypatch, penalties):
    monkeypatch.setattr(module, "PENALTIES", penalties)
    for make in (graded, found):
        chosen = np.atleast_1d(chosen_penalty(*make(80)))
        assert set(chosen.tolist()) <= set(penalties)


# From whom


def test_too_few_people_are_said():
    table = table_of(*["0"] * 20, *["1"] * (LEAST_PEOPLE - 1), None)
    people = np.arange(20 + LEAST_PEOPLE)
    with pytest.raises(TooFewError) as said:
        learnable(table, people)
    assert str(said.value) == (
        f"grade: {19 + LEAST_PEOPLE} cases have one, and 1 of its 2 values are those of "
        f"{LEAST_PEOPLE} people or more; expected two values or more that are, so record more "
        "labels"
    )
    findings = table_of(*["D"] * 3, *[""] * 20, label="findings")
    with pytest.raises(TooFewError, match="expected one finding or more"):
        learnable(findings, np.arange(23))


def test_one_person_with_many_photographs_counts_once():
    table = table_of(*["0"] * 20, *["1"] * 40)
    with pytest.raises(TooFewError):
        learnable(table, np.concatenate([np.arange(20), np.full(40, 20)]))
    many = np.concatenate([np.arange(20), 20 + np.arange(40) % LEAST_PEOPLE])
    assert learnable(table, many) == ("0", "1")


def test_of_a_finding_some_people_must_lack_it():
    everyone = table_of(*["D"] * 30, label="findings")
    with pytest.raises(TooFewError):
        learnable(everyone, np.arange(30))


def test_a_rare_value_is_left_out_and_its_cases_are_not_learnt_from():
    x, table, people = graded(120, values=3, each=1)
    recorded = [{v} for v in np.array(table.values)[table.members.argmax(axis=1)]]
    for i in range(LEAST_PEOPLE - 1):
        recorded[i] = {"4"}
    made = learn(x, LabelTable.of("grade", recorded), people)
    assert made.values == ("0", "1", "2")
    assert (made.fold[: LEAST_PEOPLE - 1] == -1).all()
    assert made.cases == 120 - (LEAST_PEOPLE - 1)
    rest = np.arange(LEAST_PEOPLE - 1, 120)
    assert bits(made) == bits(learn(x[rest], LabelTable.of("grade", recorded).rows(rest), rest))


def test_cases_without_a_label_teach_nothing():
    x, table, people = graded(120)
    labelled = np.arange(120) % 3 > 0
    recorded = [
        {table.values[row.argmax()]} if known else None for row, known in zip(table.members, labelled, strict=True)
    ]
    made = learn(x, LabelTable.of("grade", recorded), people)
    assert ((made.fold >= 0) == labelled).all()
    assert made.cases == labelled.sum()
    alone = learn(x[labelled], table.rows(labelled), people[labelled])
    assert bits(made) == bits(alone)


@pytest.mark.parametrize("make", [graded, found])
def test_forgetting_a_person_leaves_what_an_archive_without_them_learns(make):
    x, table, people = make(150)
    gone = people == 17
    recorded = [{v for v, has in zip(table.values, row, strict=True) if has} for row in table.members]
    for i in np.flatnonzero(gone):
        recorded[i] = {"4"} if table.label == "grade" else {"X"}  # a value of theirs alone
    table = LabelTable.of(table.label, recorded)
    with_them = learn(x, table, people)
    without = learn(x[~gone], table.rows(~gone), codes_of(people[~gone]))
    never = LabelTable.of(table.label, [r for r, g in zip(recorded, gone, strict=True) if not g])
    fresh = learn(x[~gone].copy(), never, codes_of(people[~gone]))
    assert bits(without) == bits(fresh)
    assert without.fold.tolist() == fresh.fold.tolist()
    assert bits(with_them) != bits(fresh) or make is graded


def test_the_same_archive_learns_the_same_twice():
    x, table, people = graded(150)
    assert bits(learn(x, table, people)) == bits(learn(x.copy(order="C"), table, people.copy()))


def test_what_was_learnt_finds_the_values_of_new_people():
    x, table, people = graded(800, each=2, signal=2)
    made = learn(x[:400], table.rows(np.arange(400)), people[:400])
    told = made.wanted(made.logits(x[400:])).argmax(axis=1)
    truth = table.members[400:].argmax(axis=1)
    assert (told == truth).mean() > 0.8
    shares = made.shares(made.logits(x[400:]))
    assert shares.sum(axis=1) == pytest.approx(1)
    sure = shares.max(axis=1) > 0.8
    right = (told == truth)[sure].mean()
    assert right == pytest.approx(shares.max(axis=1)[sure].mean(), abs=0.1)


@pytest.mark.parametrize("values", [("0", "4"), ("2.0", "10.0"), ("no", "yes")])
def test_two_values_however_they_are_called(values):
    x, table, people = graded(60, values=2)
    label = "grade" if values == ("0", "4") else "dme"
    recorded = [{values[i]} for i in table.members.argmax(axis=1)]
    made = learn(x, LabelTable.of(label, recorded), people)
    assert made.values == tuple(sorted(values))
    assert made.link == "softmax"


def test_one_finding_alone():
    x, table, people = found(100, values="D")
    made = learn(x, table, people)
    assert (made.values, made.link) == (("D",), "sigmoid")
    has = table.members[:, 0]
    told = made.shares(made.logits(x, made.fold))[:, 0]
    assert told[has].mean() > told[~has].mean() + 0.2


def test_numbers_that_never_vary_are_no_fault():
    x, table, people = graded(60)
    x = np.concatenate([x, np.full((60, 3), [0, 0.5, -1], np.float32)], axis=1)
    made = learn(x, table, people)
    assert np.isfinite(made.linear.weights).all()
    same = learn(np.repeat(x[:1], 60, axis=0), table, people)
    assert np.isfinite(same.shares(same.logits(x))).all()


# Photographs that the encoder was trained on, and its own classifier


def test_where_all_were_seen_the_prior_answers_with_a_fit_as_wide_and_is_the_calibration():
    x, table, people = graded(100)
    rng = np.random.default_rng(0)
    prior = prior_of("01234", rng.normal(size=(PRIOR_D, 5)))
    made = learn(x, table, people, seen=np.ones(100, bool), prior=prior)
    base = prior.of_values(made.values).linear
    added = Linear(2 * made.linear.weights - base.weights, 2 * made.linear.bias - base.bias)
    widths = [each.logits(x).std(axis=0).mean() for each in (base, added)]
    assert widths[0] == pytest.approx(widths[1], rel=1e-3)
    alone = fit_linear(x, table.members, balanced(table.members, "softmax"), link="softmax", penalty=KNOWN)
    ratio = added.weights / alone.weights
    assert ratio == pytest.approx(np.full(ratio.shape, ratio.mean()), rel=1e-2)
    assert len(made.apart) == FOLDS
    assert (made.cases, made.calibrated.people, made.calibrated.new) == (100, 321, True)
    # but for how common the values are, which the archive says
    even = made.calibrated.even
    assert even.shift.tolist() == prior.calibrated.even.shift[:3].tolist()
    odds = np.log((table.members.sum(axis=0) + 0.5) / 101)
    assert made.calibrated.natural.shift == pytest.approx(even.shift + odds)


def test_a_prior_that_lacks_a_value_is_built_on_instead():
    x, table, people = graded(100)
    made = learn(x, table, people, seen=np.ones(100, bool), prior=prior_of("01"))
    assert made.values == ("0", "1", "2")
    assert len(made.apart) == FOLDS
    assert not made.calibrated.new


def test_of_enough_new_people_they_alone_are_learnt_from():
    count = 2 * (ENOUGH + 60)
    x, table, people = graded(count, each=2)
    seen = people < 60
    made = learn(x, table, people, seen=seen)
    assert ((made.fold >= 0) == ~seen).all()
    assert made.calibrated.new
    alone = learn(x[~seen], table.rows(~seen), codes_of(people[~seen]))
    assert bits(made) == bits(alone)


def test_a_photograph_of_a_person_who_was_seen_is_not_new():
    count = 2 * (ENOUGH + 60)
    x, table, people = graded(count, each=2)
    seen = (people < 60) & (np.arange(count) % 2 == 0)  # one of the two of each
    made = learn(x, table, people, seen=seen)
    assert ((made.fold >= 0) == (people >= 60)).all()


def test_of_too_few_new_people_all_are_learnt_from_under_a_stronger_penalty():
    x, table, people = graded(120)
    seen = people < 40
    made = learn(x, table, people, seen=seen)
    assert (made.fold >= 0).all()
    assert not made.calibrated.new
    plain = learn(x, table, people)
    assert plain.calibrated.new
    assert np.linalg.norm(made.linear.weights) < np.linalg.norm(plain.linear.weights)


def test_it_takes_people_to_be_enough_and_not_photographs():
    x, table, people = graded(8 * (ENOUGH - 20), each=8)
    seen = people < 20
    assert (~seen).sum() > 2 * ENOUGH
    assert not learn(x, table, people, seen=seen).calibrated.new


def test_an_unlabelled_photograph_that_was_seen_changes_nothing():
    """Everyone who is learnt from is new, however few they are."""
    x, table, people = graded(80)
    recorded = [{table.values[row.argmax()]} for row in table.members]
    recorded[-2:] = [None, None]
    seen = people == people[-1]
    made = learn(x, LabelTable.of("grade", recorded), people, seen=seen)
    assert made.calibrated.new
    assert bits(made) == bits(learn(x, LabelTable.of("grade", recorded), people))


def test_new_people_who_lack_a_value_are_not_enough():
    count = 2 * (ENOUGH + 60)
    x, table, people = graded(count, each=2)
    seen = table.members[:, 2]
    made = learn(x, table, people, seen=seen)
    assert (made.fold >= 0).all()
    assert not made.calibrated.new


def test_a_small_archive_starts_from_the_prior():
    x, table, people = graded(2000, dimension=PRIOR_D, signal=2)
    first, rest = np.arange(1000), np.arange(1000, 2000)
    taught = learn(x[first], table.rows(first), people[first])
    prior = Prior(taught.values, taught.linear, taught.calibrated)
    few = np.concatenate([rest[table.members[rest, k]][: 2 * LEAST_PEOPLE] for k in range(3)])
    few.sort()
    truth = table.members[rest].argmax(axis=1)

    def right(made):
        return (made.wanted(made.logits(x[rest])).argmax(axis=1) == truth).mean()

    alone = learn(x[few], table.rows(few), codes_of(people[few]))
    with_prior = learn(x[few], table.rows(few), codes_of(people[few]), prior=prior)
    assert right(with_prior) >= right(alone)
    assert right(with_prior) > 0.8


def test_a_prior_that_misleads_is_not_started_from():
    x, table, people = graded(400, dimension=PRIOR_D, signal=2)
    rng = np.random.default_rng(0)
    prior = prior_of("012", 50 * rng.normal(size=(PRIOR_D, 3)))
    made = learn(x, table, people, prior=prior)
    plain = learn(x, table, people)
    truth = table.members.argmax(axis=1)
    for one in (made, plain):
        told = one.wanted(one.logits(x, one.fold)).argmax(axis=1)
        assert (told == truth).mean() > 0.8


def test_a_prior_of_other_values_says_nothing_of_those_it_does_not_know():
    rng = np.random.default_rng(0)
    prior = prior_of("AB", rng.normal(size=(PRIOR_D, 2)))
    some = prior.of_values(("B", "C"))
    assert some.linear.weights[:, 0].tolist() == prior.linear.weights[:, 1].tolist()
    assert not some.linear.weights[:, 1].any()
    assert prior.covers(("B", "C")) == 1
    assert some.calibrated.even.slope.tolist() == [1, 1]


def test_logits_apart_by_hand():
    def constant(value):
        return Linear(np.zeros((2, 1), np.float32), np.array([value], np.float32))

    x = np.zeros((4, 2), np.float32)
    whole, apart = constant(9), (constant(0), constant(1))
    found = logits_apart(whole, apart, np.array([1, -1, 0, 1], np.int8), x)
    assert found[:, 0].tolist() == [1, 9, 0, 1]
    assert logits_apart(whole, apart, None, x)[:, 0].tolist() == [9, 9, 9, 9]


def test_a_relevance_is_what_it_says():
    x, table, people = graded(100)
    made = learn(x, table, people)
    assert made.fold.dtype == np.int8
    assert replace(made, label="x").label == "x"
    assert made.logits(x[:0]).shape == (0, 3)
