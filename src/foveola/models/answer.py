"""What a reader says, as probabilities: of each eye, and of the person.

The temperatures are fitted after training (`foveola.metrics.probabilities`) and belong to what
is released.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from foveola.models.binocular import Read


class Answered(NamedTuple):
    """Probabilities of B people and L labels.

    Attributes:
        person: (B, L).
        eyes: (B, 2, L), left first; of a missing eye they mean nothing.
        evidence: (B, 2, L, h, w): what each position adds to an eye's logit; their mean and the
            label's constant are the logit, divided by the temperature.
    """

    person: Tensor
    eyes: Tensor
    evidence: Tensor


class Answer(nn.Module):
    """Logits -> probabilities.

    Args:
        labels: L names.
        normal: that of them which says that there is nothing else.
        softmax: one softmax over the labels, not a sigmoid each.
        monocular: the person's probabilities are made of the eyes': of a finding the greater, of
            normal the lesser, as a person is as normal as the worse eye. Else they are the fused
            feature's.
    """

    def __init__(
        self, labels: Sequence[str], *, normal: str = "N", softmax: bool = False, monocular: bool = False
    ) -> None:
        super().__init__()
        self.softmax, self.monocular = softmax, monocular
        self.register_buffer("normal", torch.tensor([label == normal for label in labels]))
        self.register_buffer("temperature", torch.ones(()))
        self.register_buffer("eye_temperature", torch.ones(()))

    def set_temperatures(self, person: float, eye: float) -> None:
        """Divide logits by these from now on."""
        self.get_buffer("temperature").fill_(person)
        self.get_buffer("eye_temperature").fill_(eye)

    def forward(self, person: Tensor, eyes: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B, L) and (B, 2, L), and bool (B, 2) -> probabilities of the same shapes."""
        each = self._spread(eyes.float() / self.get_buffer("eye_temperature"))
        if not self.monocular:
            return self._spread(person.float() / self.get_buffer("temperature")), each
        there = present[:, :, None].to(each.dtype)
        least, most = (each * there + 1 - there).amin(1), (each * there).amax(1)
        return torch.where(self.get_buffer("normal"), least, most), each

    def answer(self, said: Read, weight: Tensor, present: Tensor) -> Answered:
        """What a model said -> probabilities, and where in each eye they come from.

        Args:
            said: of B people.
            weight: (L, D), of the model's last layer for an eye.
            present: (B, 2) bool.
        """
        person, eyes = self(said.person, said.eyes, present)
        seen = torch.einsum("bedhw,ld->belhw", said.maps.float(), weight.float())
        return Answered(person, eyes, seen / self.get_buffer("eye_temperature"))

    def _spread(self, logits: Tensor) -> Tensor:
        return logits.softmax(-1) if self.softmax else logits.sigmoid()
