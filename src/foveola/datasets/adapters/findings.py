"""Sets labelled with what is seen: diseases of many kinds, or masks of the vessels."""

import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from foveola.datasets.adapters.base import Adapter, Layout, Record, column, text_set, whole
from foveola.errors import ManifestError

# --- BRSET: labels_brset.csv and fundus_photos/ as PhysioNet publishes them ---


BRSET_FINDINGS = (
    "diabetic_retinopathy",
    "macular_edema",
    "scar",
    "nevus",
    "amd",
    "vascular_occlusion",
    "hypertensive_retinopathy",
    "drusens",
    "hemorrhage",
    "retinal_detachment",
    "myopic_fundus",
    "increased_cup_disc",
    "other",
)
BRSET_EYES = {"1": "right", "2": "left"}
BRSET_SEXES = {"1": "male", "2": "female"}


def _read_brset(layout: Layout) -> Iterator[Record]:
    for row in layout.table("labels_brset.csv", "labels.csv"):
        sex, eye = column(row, "patient_sex"), column(row, "exam_eye")
        yield {
            "image": layout.image(column(row, "image_id")),
            "subject": whole(column(row, "patient_id")),
            "eye": BRSET_EYES.get(whole(eye), eye),
            "grade": whole(column(row, "DR_ICDR")),
            "findings": text_set(name for name in BRSET_FINDINGS if whole(column(row, name)) == "1"),
            "age": whole(column(row, "patient_age")),
            "sex": BRSET_SEXES.get(whole(sex), sex),
            "camera": column(row, "camera"),
            "quality": column(row, "quality"),
        }


BRSET = Adapter(
    name="brset",
    title="BRSET, Brazilian Multilabel Ophthalmological Dataset",
    licence="PhysioNet credentialed access: research, no redistribution",
    source="https://physionet.org/content/brazilian-ophthalmological/",
    citation="Nakayama et al., PLOS Digit. Health 3 (2024) e0000454",
    subject_rule="the column patient_id",
    eye_rule="the column exam_eye, 1 right and 2 left",
    label_meaning="grade: ICDR 0-4 (DR_ICDR) by one specialist; findings: the columns from "
    "diabetic_retinopathy to other that are 1, the empty set where none is; age; sex: 1 male and "
    "2 female; camera; quality: the verdict on the photograph",
    unverified="the table itself, whose columns and codes for eye and sex we know from code that "
    "reads it; the wording of the licence",
    read=_read_brset,
)


# --- JSIEC: 1,000 photographs in 39 folders, one a disease, such as "0.3.DR1" ---


JSIEC_CLASS = re.compile(r"\d+(?:\.\d+)?\.(.+)")


def _read_jsiec(layout: Layout) -> list[Record]:
    found: dict[tuple[str, str], str] = {}
    for path in map(PurePosixPath, sorted(layout.photographs(), key=lambda path: path.count("/"))):
        label = JSIEC_CLASS.fullmatch(path.parent.name)
        if label:  # a copy may hold all folders once more, deeper: the first counts
            found.setdefault((label[1], path.name), str(path))
    if not found:
        raise layout.without("photograph in a folder such as 0.0.Normal/IMG.jpg")
    return [
        {"image": path, "findings": name, "grade": 0 if name == "Normal" else None}
        for (name, _), path in sorted(found.items())
    ]


JSIEC = Adapter(
    name="jsiec",
    title="JSIEC, 1,000 fundus images of 39 categories",
    licence="not stated in the files read; see the page",
    source="https://www.kaggle.com/datasets/linchundan/fundusimage1000",
    citation="Cen et al., Nat. Commun. 12 (2021) 4828",
    label_meaning="findings: the folder without its number, one of 39 such as Normal, DR1 or "
    "Possible glaucoma; grade: 0 in Normal and empty elsewhere, as DR1, DR2 and DR3 are stages of "
    "the authors' own",
    unverified="how DR1 to DR3 relate to ICDR grades; the folder names, which we know from code "
    "that reads them; the wording of the licence",
    read=_read_jsiec,
)


# --- ODIR-5K: one Excel sheet, a row a patient, diagnostic keywords for each eye ---


ODIR_CODES = "NDGCAHMO"
ODIR_SHEETS = ("ODIR-5K_Training_Annotations*.xlsx", "data.xlsx")

ODIR_NO_FUNDUS = {"anterior segment image", "no fundus image"}
# what is said of the picture and not of the eye
ODIR_ABOUT_THE_PICTURE = {"lens dust", "low image quality", "image offset", "optic disk photographically invisible"}
# a part of a keyword, its code and its grade; the first that fits counts
ODIR_RULES = (
    ("normal fundus", "N", 0),
    ("mild nonproliferative", "D", 1),
    ("moderate non proliferative", "D", 2),
    ("moderate nonproliferative", "D", 2),
    ("severe nonproliferative", "D", 3),
    ("proliferative diabetic", "D", 4),
    ("diabetic retinopathy", "D", None),
    ("proliferative retinopathy", "D", None),
    ("glaucoma", "G", None),
    ("cataract", "C", None),
    ("age-related macular degeneration", "A", None),
    ("hypertensive retinopathy", "H", None),
    ("myopi", "M", None),
)
# fundus photographs that the hospitals had processed; the challenge left their use open
ODIR_PROCESSED = {
    *(f"{n}_left.jpg" for n in (2175, 2176, 2177, 2179, 2180, 2181, 2182, 2957)),
    *(f"{n}_right.jpg" for n in (2174, 2177, 2178, 2179, 2180, 2181, 2182, 2957)),
}


def _read_odir(layout: Layout) -> Iterator[Record]:
    for row in layout.table(*ODIR_SHEETS):
        for eye in ("left", "right"):
            name = column(row, f"{eye}-fundus")
            said = re.split("[,;\N{FULLWIDTH COMMA}]", column(row, f"{eye}-diagnostic keywords"))
            keywords = [word.strip().lower() for word in said if word.strip()]
            if ODIR_NO_FUNDUS & set(keywords):
                continue
            codes, grade = odir_label(keywords)
            yield {
                "image": layout.image(name, within="train"),
                "subject": column(row, "ID"),
                "eye": eye,
                "grade": grade,
                "findings": text_set(codes) if codes else None,
                "subject_findings": text_set(code for code in ODIR_CODES if column(row, code)[:1] == "1"),
                "keywords": ";".join(keywords),
                "age": column(row, "Patient Age"),
                "sex": column(row, "Patient Sex"),
                "processed": int(name in ODIR_PROCESSED),
            }


def odir_label(keywords: list[str]) -> tuple[set[str], int | None]:
    """Return the codes and the grade of one eye; no codes where the keywords speak of the picture only.

    The worst grade that is named counts, a suspected one too, as in the official labels.
    "normal fundus" is grade 0; another disease alone says nothing of diabetic retinopathy and
    leaves the grade empty.

    >>> odir_label(["moderate non proliferative retinopathy", "lens dust"])
    ({'D'}, 2)
    """
    words = [word for word in keywords if word not in ODIR_ABOUT_THE_PICTURE]
    pairs = [next(((c, g) for part, c, g in ODIR_RULES if part in word), ("O", None)) for word in words]
    return {code for code, _ in pairs}, max((grade for _, grade in pairs if grade is not None), default=None)


ODIR = Adapter(
    name="odir",
    title="ODIR-5K, training part",
    licence="no open licence: research use, by the challenge's terms",
    source="https://odir2019.grand-challenge.org/dataset/",
    citation="Li et al., A Benchmark of Ocular Disease Intelligent Recognition, Bench 2020",
    subject_rule="the column ID",
    eye_rule="the columns Left-Fundus and Right-Fundus",
    label_meaning="findings: N D G C A H M O of the eye by its keywords, empty where these speak "
    "of the picture only; subject_findings: the official eight labels of both eyes; grade: where "
    "the keywords name it, 0 for a normal fundus; keywords, age, sex; processed: 1 for 16 "
    "photographs with another background. Photographs said to be of the anterior segment or of "
    "no fundus are left out",
    known_duplicates="two pairs of patients are the same pictures; the check by content names byte-identical ones",
    unverified="the folder names of other copies than the challenge's; the words Training on the path decide",
    read=_read_odir,
)


# --- PAPILA: an Excel sheet for right eyes and one for left eyes, photographs such as RET002OD.jpg ---


PAPILA_SHEETS = {"OD": "patient_data_od.xlsx", "OS": "patient_data_os.xlsx"}
PAPILA_FINDINGS = {"0": "normal", "1": "glaucoma", "2": "glaucoma suspect"}
PAPILA_SEXES = {"0": "male", "1": "female"}


def _read_papila(layout: Layout) -> Iterator[Record]:
    for eye, sheet in PAPILA_SHEETS.items():
        lines = layout.sheet(sheet)
        # a header of three rows with joined cells stands above the first #002
        above = [line for line in lines if not line[0].startswith("#")]
        place = {title: _papila_place(above, title, sheet) for title in ("diagnosis", "age", "gender")}
        for line in lines:
            if not line[0].startswith("#"):
                continue
            number, sex, diagnosis = line[0].removeprefix("#"), line[place["gender"]], line[place["diagnosis"]]
            if diagnosis and diagnosis not in PAPILA_FINDINGS:
                raise ManifestError(f"{sheet}: diagnosis {diagnosis[:20]!r} of {line[0]}; expected 0, 1 or 2")
            yield {
                "image": layout.image(f"RET{number}{eye}.jpg"),
                "subject": number,
                "eye": eye,
                "findings": PAPILA_FINDINGS.get(diagnosis),
                "age": line[place["age"]],
                "sex": PAPILA_SEXES.get(sex, sex),
            }


def _papila_place(above: list[list[str]], title: str, name: str) -> int:
    for line in above:
        for place, cell in enumerate(line):
            if cell.lower() == title:
                return place
    raise ManifestError(f"{name} has no column {title.title()!r} above its first patient")


PAPILA = Adapter(
    name="papila",
    title="PAPILA, both eyes of one person for glaucoma",
    licence="not stated in the files read; see the page",
    source="https://figshare.com/articles/dataset/PAPILA/14798004",
    citation="Kovalyk et al., Sci. Data 9 (2022) 291",
    subject_rule="the number behind # in the sheets and in the file name",
    eye_rule="the sheet, OD right and OS left, as in the file name",
    label_meaning="findings: normal, glaucoma or glaucoma suspect, by diagnosis 0, 1 or 2 of the "
    "eye; age; sex: 0 male and 1 female; no grade, as DR is not graded",
    unverified="the sheets themselves, whose header and codes we know from code that reads them; "
    "the wording of the licence",
    read=_read_papila,
)


# --- RFMiD: 3,200 photographs with 45 findings, in three official parts ---


# part: its label sheet, and a word on the path of its images; both releases fit
RFMID_PARTS = {
    "train": ("*RFMiD_Training_Labels.csv", "train"),
    "val": ("*RFMiD_Validation_Labels.csv", "valid"),
    "test": ("*RFMiD_Testing_Labels.csv", "test"),
}


def _read_rfmid(layout: Layout) -> Iterator[Record]:
    for split, (sheet, word) in RFMID_PARTS.items():
        for row in layout.table(sheet):
            yield {
                "image": layout.image(column(row, "ID"), within=word),
                "findings": text_set(key for key in row if key not in ("ID", "Disease_Risk") and row[key] == "1"),
                "split": split,
                "disease_risk": column(row, "Disease_Risk"),
            }


RFMID = Adapter(
    name="rfmid",
    title="RFMiD, Retinal Fundus Multi-disease Image Dataset",
    licence="CC BY 4.0",
    source="https://ieee-dataport.org/open-access/retinal-fundus-multi-disease-image-dataset-rfmid",
    citation="Pachade et al., Data 6 (2021) 14",
    label_meaning="findings: the columns that are 1, in the data set's own abbreviations (DR, "
    "ARMD, MH, ...), the empty set for a normal fundus; disease_risk: 0 normal, 1 not; "
    "no grade, as DR is not graded; split: the official train, val and test",
    unverified="the folder names, which differ between releases; the words train, valid and test on the path decide",
    read=_read_rfmid,
)


# --- vessels: masks of two observers beside the photographs ---


def _masks(layout: Layout, photograph: str, first: str, second: str) -> Record:
    return {"vessel_mask": layout.file(photograph + first), "vessel_mask_2": layout.file(photograph + second)}


# --- CHASE_DB1: both eyes of 14 children ---


CHASE_EYES = {"l": "left", "r": "right"}


def _read_chase(layout: Layout) -> list[Record]:
    found = layout.named(r"image_(\d+)([lr])", "Image_01L.jpg")
    return [
        {
            "image": path,
            "subject": match[1],
            "eye": CHASE_EYES[match[2]],
            **_masks(layout, f"Image_{match[1]}{match[2].upper()}", "_1stHO.*", "_2ndHO.*"),
        }
        for path, match in found
    ]


CHASE = Adapter(
    name="chase",
    title="CHASE_DB1, retinal vessels",
    licence="usually given as CC BY 4.0; see the page",
    source="https://blogs.kingston.ac.uk/retinal/chasedb1/",
    citation="Fraz et al., IEEE Trans. Biomed. Eng. 59 (2012) 2538-2548",
    subject_rule="the number in the file name",
    eye_rule="L or R in the file name",
    label_meaning="vessel_mask and vessel_mask_2: masks of the first and second observer, paths "
    "relative to the folder of the data set; no grade and no findings",
    unverified="the wording of the licence",
    read=_read_chase,
)


# --- DRIVE: 40 photographs in training/ and test/ ---


DRIVE_SPLITS = {"training": "train", "test": "test"}


def _read_drive(layout: Layout) -> list[Record]:
    found = layout.named(r"(\d+)_(training|test)", "21_training.tif")
    return [
        {"image": path, "split": DRIVE_SPLITS[match[2]], **_masks(layout, match[1], "_manual1.*", "_manual2.*")}
        for path, match in found
    ]


DRIVE = Adapter(
    name="drive",
    title="DRIVE, retinal vessels",
    licence="research use, after registration; see the page",
    source="https://drive.grand-challenge.org/",
    citation="Staal et al., IEEE Trans. Med. Imaging 23 (2004) 501-509",
    label_meaning="vessel_mask and vessel_mask_2: masks of the first and second observer, paths "
    "relative to the folder of the data set, empty where the release has none; split: the "
    "official train and test; no grade and no findings",
    unverified="the wording of the licence; names and folders we know from code that reads them",
    read=_read_drive,
)


# --- STARE: photographs im0001 and onwards ---


def _read_stare(layout: Layout) -> list[Record]:
    return [
        {"image": path, **_masks(layout, match.string, ".ah.*", ".vk.*")} for path, match in _stare_photographs(layout)
    ]


def _stare_photographs(layout: Layout) -> list[tuple[str, re.Match[str]]]:
    try:
        return layout.named(r"im\d{4}", "im0001.png")
    except ManifestError:
        if layout.file("im[0-9][0-9][0-9][0-9].ppm*"):
            raise ManifestError(
                f"{layout.folder}: the photographs are .ppm files, which Foveola does not read; "
                "convert them to .png under the same names"
            ) from None
        raise


STARE = Adapter(
    name="stare",
    title="STARE, retinal vessels",
    licence="none stated: research use",
    source="https://cecas.clemson.edu/~ahoover/stare/",
    citation="Hoover et al., IEEE Trans. Med. Imaging 19 (2000) 203-210",
    label_meaning="vessel_mask and vessel_mask_2: masks of Hoover (ah) and Kouznetsova (vk), "
    "paths relative to the folder of the data set, empty for photographs without; no grade and "
    "no findings. The official .ppm files must be converted, to .png for example",
    unverified="the folder names, which do not matter; the table of diagnoses, which is not read; "
    "names we know from code that reads them",
    read=_read_stare,
)

ADAPTERS = (BRSET, CHASE, DRIVE, JSIEC, ODIR, PAPILA, RFMID, STARE)
