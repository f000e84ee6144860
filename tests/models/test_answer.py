"""Logits of eyes and people become probabilities, and a map says where they come from."""

import torch

from foveola.models.answer import Answer
from foveola.models.binocular import BinocularModel

EYES = torch.tensor([[[2.0, -2.0], [-1.0, 1.0]], [[2.0, -2.0], [-1.0, 1.0]]])
PERSON = torch.tensor([[3.0, -3.0], [1.0, 0.0]])
PRESENT = torch.tensor([[True, True], [True, False]])


def test_each_label_has_a_probability_of_its_own():
    person, eyes = Answer("ND")(PERSON, EYES, PRESENT)
    assert torch.allclose(person, PERSON.sigmoid())
    assert torch.allclose(eyes, EYES.sigmoid())


def test_a_monocular_reader_is_as_normal_as_the_worse_eye():
    person, _ = Answer("ND", monocular=True)(PERSON, EYES, PRESENT)
    assert torch.allclose(person, torch.tensor([[-1.0, 1.0], [2.0, -2.0]]).sigmoid())


def test_a_softmax_is_shared_by_all_labels():
    person, _ = Answer("ND", softmax=True)(PERSON, EYES, PRESENT)
    assert torch.allclose(person, PERSON.softmax(1))
    assert torch.allclose(person.sum(1), torch.ones(2))


def test_logits_are_divided_by_the_temperatures():
    answer = Answer("ND")
    answer.set_temperatures(2.0, 4.0)
    person, eyes = answer(PERSON, EYES, PRESENT)
    assert torch.allclose(person, (PERSON / 2).sigmoid())
    assert torch.allclose(eyes, (EYES / 4).sigmoid())


def test_the_evidence_of_an_eye_sums_to_its_logit():
    torch.manual_seed(0)
    model = BinocularModel(3, "mobilenetv2_035", blocks=1, width=16, feature=8).eval()
    answer = Answer("NDG")
    answer.set_temperatures(1.0, 2.0)
    with torch.no_grad():
        said = model(torch.randn(2, 2, 3, 96, 96))
        answered = answer.answer(said, model.eye.weight, torch.ones(2, 2, dtype=torch.bool))
        found = answered.evidence.mean((3, 4)) + model.eye.bias / 2
    assert answered.evidence.shape == (2, 2, 3, 3, 3)
    assert torch.allclose(found, said.eyes / 2, atol=1e-5)
    assert torch.allclose(answered.eyes, (said.eyes / 2).sigmoid())
