"""What an encoder makes of a picture, and whether it is a photograph of the retina at all.

Every door asks here before anything is said of a picture: search, readers and the service.
"""

from collections.abc import Mapping
from functools import cache
from typing import Self

import numpy as np
from numpy.typing import NDArray

from foveola.encoders.encoder import Description, Encoded, Encoder
from foveola.encoders.release import DEFAULT, read_release
from foveola.errors import ImageError
from foveola.records import Eye
from foveola.trust import Familiarity, Looks, judge_picture
from foveola.trust.sentences import of_refused

NOTHING = "so nothing is said of it; give a photograph of the retina"


class Looker:
    """An encoder, and what it knows of photographs of the retina. Safe to use from several threads.

    Args:
        encoder: that looks; one without `familiarity.npz` tells by gradability alone.
    """

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self._known = Familiarity.load(encoder.release.folder)

    @classmethod
    def shipped(cls, own: Self | None = None, together: int = 1) -> Self:
        """Load the shipped encoder's, by which readers are told what they may read.

        Args:
            own: of an archive; taken where it is the same, as it is loaded already.
            together: cores that work on one photograph, as for `Encoder`.
        """
        release = read_release(DEFAULT)
        same = own is not None and own.encoder.fingerprint == release.fingerprint
        if own is not None and same and own._known is not None:
            return own
        return cls(Encoder(release, together=together))

    def look(
        self, image: NDArray[np.uint8], eye: Eye | None = None, camera: str | None = None
    ) -> tuple[Description, Looks]:
        """Embed a picture, and say whether it can be compared.

        Args:
            image: the picture.
            eye: which it shows, where that is known.
            camera: that took it, where the archive has no photograph of that one.
        """
        seen = self.encoder.embed_with_quality(image, eye)
        side = min(image.shape[:2])
        return seen, judge_picture(self._known, seen.pooled, seen.gradability, camera, side)

    def foreign(self, made: Encoded) -> bool:
        """Return whether a file that was encoded shows no retina, as far as the encoder knows."""
        if self._known is None:
            return False
        return judge_picture(self._known, made.pooled, made.gradability).foreign


@cache
def shipped_looker() -> Looker:
    """Load what tells whether a photograph shows a retina, once."""
    return Looker.shipped()


def check_retina(looks: Looks, name: str = "the photograph") -> None:
    """Refuse a photograph of which nothing can be said.

    Raises:
        ImageError: it shows no retina, or too little of it.
    """
    if not looks.comparable:
        raise ImageError(f"{name} {of_refused(looks)}, {NOTHING}")


def refused(looks: Mapping[Eye, Looks]) -> dict[Eye, str]:
    """Say of which eyes nothing can be said, and why: the words follow "the photograph of it".

    Raises:
        ImageError: nothing can be said of any.
    """
    why = {eye: of_refused(each) for eye, each in looks.items() if not each.comparable}
    if looks and len(why) == len(looks):
        said = " and ".join(f"the photograph of the {eye} eye {words}" for eye, words in why.items())
        raise ImageError(f"{said}, {NOTHING}")
    return why


def left_out(why: Mapping[Eye, str]) -> list[str]:
    """Say which eyes were left out, and why."""
    return [f"the photograph of the {eye} eye {words} and was left out" for eye, words in why.items()]
