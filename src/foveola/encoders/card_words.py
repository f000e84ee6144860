"""What a model card says of every encoder of a kind."""

from typing import Final, NamedTuple


class Words(NamedTuple):
    """Intended use, what it must not be used for, and limits, as Markdown lists."""

    intended: str
    not_for: str
    limits: str


SIMILARITY: Final = Words(
    intended="""\
- To find cases of an archive that look like a photograph, for a clinician or a researcher who
  then looks at them and judges.
- To find images whose grade disagrees with those of their nearest cases, for a reading centre.
- As a baseline, or a start, for descriptors of your own.""",
    not_for="""\
- A diagnosis or a grade, triage, screening without a reader, or any decision about a patient
  that nobody reviews.
- Finding out whose eye it is. It was not made for that, but photographs of one eye do come out
  alike: treat descriptors as personal data.
- Photographs that are not colour fundus photographs; it ranks those too, and says nothing.""",
    limits="""\
- It orders photographs by likeness. It states no diagnosis and is no medical device.
- Grades in public data sets are noisy; severe grades (3, 4) are rare in them, so figures for
  those rest on few people: look at the intervals.
- Public sets leak disease through the camera. Part of every figure is the camera's, and a
  camera it never saw can be ranked badly, as can children's eyes and diseases it never saw.
- Small lesions are lost at the size it sees: grade 1, microaneurysms alone, is hardly told
  from grade 0.
- Photographs of the same person are alike for reasons other than disease: leave them out of
  a search, as Foveola does unless told otherwise.""",
)

MATCHING: Final = Words(
    intended="""\
- To find other photographs of the same eye in an archive whose keeper has allowed that and said
  what for: wrong identities, swapped eyes, copies, a subject on both sides of a split.
- As a baseline, or a start, for matching encoders of your own.""",
    not_for="""\
- Finding out who an unknown person is. Its descriptors are biometric data: they tell whose eye
  it is, so they must not be published, nor kept where nobody needs them.
- A decision about a person that nobody reviews. A match is a question to a person who looks at
  both photographs; so is "no match".
- Similar cases, a diagnosis or a grade: it was made to see past disease.
- Photographs that are not colour fundus photographs; it ranks those too, and says nothing.""",
    limits="""\
- Nearly all eyes it was trained on were photographed once; their other visits were made by
  augmentation. How it does after years of real ageing, disease and treatment was not measured.
- Alone it is weak where little of the field is shared. Foveola uses it to choose candidates and
  has local features prove them.
- Fields of one camera make eyes look alike; a camera it never saw can be matched badly, as can
  children's eyes and eyes whose media are not clear.""",
)

BROUGHT_IN: Final = Words(
    intended="""\
- To find cases of an archive that look like a photograph by a network that Foveola did not make,
  for a clinician or a researcher who then looks at them and judges.""",
    not_for="""\
- A diagnosis or a grade, triage, screening without a reader, or any decision about a patient
  that nobody reviews.
- Whatever the maker of the network, or its licence, says it is not for.
- Finding out whose eye it is. Photographs of one eye may come out alike: treat descriptors as
  personal data.""",
    limits="""\
- How good it is was not measured: run `foveola evaluate` on an archive with labels.
- It may have been trained on the photographs it is then judged by; nothing here can tell.
- It orders photographs by likeness. It states no diagnosis and is no medical device.
- It does not know what a fundus photograph is: other pictures are ranked too.""",
)

BY_TASK: Final = {"similarity": SIMILARITY, "matching": MATCHING, "brought in": BROUGHT_IN}
