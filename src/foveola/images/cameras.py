"""Makers and models of fundus cameras, so that no free text of a sender is kept.

Manufacturer (0008,0070) and its model name (0008,1090) are whatever somebody typed in. What is
kept is our own word for the maker, and the part of the model name that has the shape of one of
that maker's models; anything else is left out.
"""

import re
from typing import Any

# Maker's word in a Manufacturer, our name of the maker, shapes of its models.
_MAKERS: tuple[tuple[str, str, str], ...] = (
    ("topcon", "Topcon", r"TRC[- ]?(?:NW|50)\d{0,3}[A-Z]{0,2}|OCT-\d{1,4}|Maestro ?2?|Triton"),
    ("canon", "Canon", r"C[RX]-?\d{1,2}(?: ?(?:AF|Plus AF|NM|DGi))?|CF-\d{1,2}[A-Z]{0,3}|CR-DGi"),
    ("zeiss", "Zeiss", r"VISUCAM(?: ?(?:\d{3}|NM/FA|PRO NM|LITE))?|CLARUS ?\d{3}|FF ?450(?:plus)?"),
    ("nidek", "Nidek", r"AFC-\d{3}|Mirante|NM-?200D"),
    ("kowa", "Kowa", r"nonmyd(?: ?WX| ?\d\w?)?|VX-\d{2}\w?|VK-\d"),
    ("optos", "Optos", r"Daytona(?: Plus)?|California|Silverstone|Monaco|P?200(?:Tx|DTx|C|MA)"),
    ("heidelberg", "Heidelberg Engineering", r"Spectralis|HRA ?\d?"),
    ("centervue", "CenterVue", r"DRS ?(?:Plus)?|EIDON(?: (?:AF|FA))?"),
    ("icare", "iCare", r"DRSplus|EIDON(?: (?:AF|FA|Ultra-Widefield))?"),
    ("optomed", "Optomed", r"Aurora(?: IQ)?|Lumo|SmartScope(?: PRO)?"),
    ("remidio", "Remidio", r"FOP|Pristine|Instaris?"),
    ("forus", "Forus Health", r"3nethra(?: (?:classic|neo|royal|flora))?"),
    ("volk", "Volk", r"Pictor(?: (?:Plus|Prestige))?|VistaView"),
    ("crystalvue", "CrystalVue", r"NFC-\d{3}|TonoVue"),
    ("natus", "Natus", r"RetCam ?(?:\d|Shuttle|Envision)?"),
    ("phelcom", "Phelcom", r"Eyer ?2?"),
    ("welch allyn", "Welch Allyn", r"RetinaVue ?\d{3}"),
    ("huvitz", "Huvitz", r"HFC-\d"),
    ("tomey", "Tomey", r"TFC-\d{4}"),
)


def known_camera(manufacturer: str, model: str) -> tuple[str, str] | None:
    """(maker, model) in our words; the model is "" where it has no known shape.

    None for a maker that is not in the table.
    """
    for word, maker, shapes in _MAKERS:
        if re.search(rf"\b{word}\b", manufacturer, re.IGNORECASE):
            found = re.search(rf"(?<!\w)(?:{shapes})(?!\w)", model, re.IGNORECASE)
            return maker, found[0] if found else ""
    return None


def camera_of(found: Any) -> tuple[str, str] | None:
    """The same of a pydicom dataset."""
    texts = (str(found.get(k) or "") for k in ("Manufacturer", "ManufacturerModelName"))
    return known_camera(*texts)
