"""A photograph that says a name wherever DICOM lets it."""

from pydicom import config
from pydicom.datadict import DicomDictionary, keyword_for_tag
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from dicoms import to_bytes, with_pixels

MARK = "MUSTERMANN"
NUMBER = "1234567890"
TEXTS = {"AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"}
OTHERS = {
    "DA": "MUSTERMA",
    "TM": MARK,
    "DT": MARK,
    "AS": MARK[:4],
    "DS": NUMBER,
    "IS": NUMBER,
    "UI": MARK,
    "UN": MARK.encode(),
    "OB": MARK.encode(),
    "OW": MARK.encode(),
}
PIXELS = {"Rows", "Columns", "NumberOfFrames", "PixelData", "SOPClassUID", "PhotometricInterpretation"}
DEEP = {0x00081140, 0x00082218, 0x52009229}  # referenced images, region, functional groups
# UIDs must be such, or the object is refused; they are looked for one by one
UIDS = {"StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"}


def plant(into, *, skip=frozenset()):
    """The mark in every attribute of the dictionary that can hold a text or bytes."""
    count = 0
    for tag, (vr, *_) in DicomDictionary.items():
        keyword = keyword_for_tag(tag)
        if tag >> 16 < 8 or keyword in skip or tag in into or keyword == "BurnedInAnnotation":
            continue
        for kind in vr.split(" or "):
            if kind in TEXTS or kind in OTHERS:
                value = OTHERS.get(kind, MARK)
                into.add(DataElement(tag, kind, value, validation_mode=config.IGNORE))
                count += 1
                break
    return count


def planted(pixels, **values) -> bytes:
    """A photograph of (H, W, 3) uint8 with the mark wherever one can be put but in `values`."""
    config.settings.writing_validation_mode, before = (config.IGNORE, config.settings.writing_validation_mode)
    try:
        inner = Dataset()
        assert plant(inner) > 2500
        unsaid = ("PatientID", "PatientName", "Modality", "StudyDate", "AcquisitionDateTime", "ImageLaterality")
        made = with_pixels(pixels, **(dict.fromkeys(unsaid) | values))
        plant(made, skip=PIXELS | UIDS)
        deep = Dataset()
        deep.ReferencedImageSequence = [inner]
        code = named_code()
        for tag, (vr, *_) in DicomDictionary.items():
            if vr == "SQ" and tag >> 16 >= 8:
                made.add_new(tag, "SQ", [deep if tag in DEEP else code])
        block = made.private_block(0x11, MARK, create=True)
        block.add_new(1, "LO", MARK)
        block.add_new(2, "OB", MARK.encode())
        for group in (0x6000, 0x5000):  # overlays and curves
            made.add_new((group, 0x22), "LO", MARK)
            made.add_new((group, 0x3000), "OW", MARK.encode())
        made.add_new((0xFFFC, 0xFFFC), "OB", MARK.encode())  # padding after the data set
        data = bytearray(to_bytes(made))
        data[:10] = MARK.encode()  # the preamble
        data = data.replace(NUMBER.encode(), MARK.encode())  # no number, where one should stand
        return bytes(data)
    finally:
        config.settings.writing_validation_mode = before


def named_code():
    code = Dataset()
    code.CodeValue = code.CodingSchemeDesignator = code.CodeMeaning = MARK
    known = Dataset()  # a code that is kept, with a meaning that is not
    known.CodeValue, known.CodingSchemeDesignator, known.CodeMeaning = "81745001", "SCT", MARK
    code.MydriaticAgentCodeSequence = [known]
    return code
