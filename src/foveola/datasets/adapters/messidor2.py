"""Messidor-2: photographs and pairs from ADCIS, adjudicated grades of Krause et al. from Kaggle."""

from foveola.datasets.adapters.base import Adapter, Layout, Record, column


def _read(layout: Layout) -> list[Record]:
    exams = _examinations(layout.lines("messidor-2.csv") or [])
    records: list[Record] = []
    for row in layout.table("messidor_data.csv"):
        name = column(row, "image_id")
        subject, eye = exams.get(_stem(name), (None, None))
        gradable = column(row, "adjudicated_gradable")
        records.append(
            {
                "image": layout.image(name),
                "subject": subject,
                "eye": eye,
                "grade": column(row, "adjudicated_dr_grade") if gradable != "0" else None,
                "dme": column(row, "adjudicated_dme") if gradable != "0" else None,
                "gradable": gradable,
            }
        )
    return records


def _examinations(lines: list[str]) -> dict[str, tuple[str, str]]:
    """Stem of an image to its examination and eye; a line is "left;right" or "left,right"."""
    pairs = [line.replace(",", ";").split(";") for line in lines if not line.startswith("#")]
    named = [pair for pair in pairs if len(pair) >= 2 and "." in pair[0]]  # the header has no dot
    found = {}
    for number, pair in enumerate(named, start=1):
        for name, eye in zip(pair, ("left", "right"), strict=False):
            if name.strip():
                found[_stem(name)] = (f"exam{number:04d}", eye)
    return found


def _stem(name: str) -> str:
    return name.strip().strip('"').rpartition(".")[0].lower()


ADAPTER = Adapter(
    name="messidor2",
    title="Messidor-2",
    licence="research and education only, no redistribution (ADCIS)",
    source="https://www.adcis.net/en/third-party/messidor2/ and "
    "https://www.kaggle.com/datasets/google-brain/messidor2-dr-grades",
    citation="Decenciere et al., Image Anal. Stereol. 33 (2014) 231-234; grades: Krause et al., "
    "Ophthalmology 125 (2018) 1264-1272",
    subject_rule="the examination, from the pairs in messidor-2.csv; unknown without that file",
    eye_rule="the column of the pair, left then right",
    label_meaning="grade: ICDR 0-4, adjudicated by three specialists, empty where not gradable; "
    "dme: referable macular oedema 0 or 1; gradable: 0 or 1",
    known_duplicates="none listed",
    unverified="the header of messidor-2.csv, so that line is known by having no file name; "
    "whether the pairs put the left eye first as their header says",
    read=_read,
)
