"""DICOM images made for tests, with every kind of pixel and transfer syntax."""

import io
import tempfile
import warnings
import zlib
from pathlib import Path

import numpy as np
from openjpeg.utils import encode_array
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.filewriter import dcmwrite
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLossless,
    JPEGLosslessSV1,
    generate_uid,
)

OPHTHALMIC_8 = "1.2.840.10008.5.1.4.1.1.77.1.5.1"
OPHTHALMIC_16 = "1.2.840.10008.5.1.4.1.1.77.1.5.2"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
VL_PHOTOGRAPHIC = "1.2.840.10008.5.1.4.1.1.77.1.4"


def header(sop_class=OPHTHALMIC_8, **values) -> Dataset:
    """A dataset without pixels; keywords overwrite and None leaves out."""
    made = Dataset()
    said = {
        "SOPClassUID": sop_class,
        "SOPInstanceUID": generate_uid(),
        "StudyInstanceUID": generate_uid(),
        "SeriesInstanceUID": generate_uid(),
        "PatientID": "4711",
        "PatientName": "Doe^Jane",
        "Modality": "OP",
        "StudyDate": "20200304",
        "AcquisitionDateTime": "20200304101112",
        "ImageLaterality": "L",
    } | values
    for keyword, value in said.items():
        if value is not None:
            setattr(made, keyword, value)
    return made


def with_pixels(pixels, photometric=None, *, bits=None, frames=None, **values) -> Dataset:
    """(H, W), (H, W, 3) or, with frames, one axis before: a native image in explicit LE."""
    made = header(**values)
    shape = pixels.shape[1:] if frames else pixels.shape
    colour = len(shape) == 3
    made.Rows, made.Columns = shape[:2]
    made.SamplesPerPixel = 3 if colour else 1
    made.PhotometricInterpretation = photometric or ("RGB" if colour else "MONOCHROME2")
    made.BitsAllocated = 8 * pixels.itemsize
    made.BitsStored = bits or made.BitsAllocated
    made.HighBit = made.BitsStored - 1
    made.PixelRepresentation = int(pixels.dtype.kind == "i")
    if colour:
        made.PlanarConfiguration = 0
    if frames:
        made.NumberOfFrames = frames
    data = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
    made.PixelData = data + b"\0" * (len(data) % 2)
    made["PixelData"].VR = "OB" if pixels.itemsize == 1 else "OW"
    return made


def encapsulated(pixels, streams, photometric=None, **values) -> Dataset:
    """The same, with these compressed frames in place of the pixels."""
    made = with_pixels(pixels, photometric, **values)
    made.PixelData = encapsulate(list(streams))
    made["PixelData"].VR = "OB"
    made["PixelData"].is_undefined_length = True
    return made


def to_bytes(made: Dataset, syntax=ExplicitVRLittleEndian) -> bytes:
    """A PS3.10 file."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = made.get("SOPClassUID", SECONDARY_CAPTURE)
    meta.MediaStorageSOPInstanceUID = made.get("SOPInstanceUID", generate_uid())
    meta.TransferSyntaxUID = syntax
    made.file_meta = meta
    out = io.BytesIO()
    if syntax == ExplicitVRBigEndian and made.get("BitsAllocated") == 16:
        made.PixelData = np.frombuffer(made.PixelData, "<u2").astype(">u2").tobytes()
    little, implicit = syntax != ExplicitVRBigEndian, syntax == ImplicitVRLittleEndian
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dcmwrite(out, made, enforce_file_format=True, little_endian=little, implicit_vr=implicit)
    return out.getvalue()


def deflated(data: bytes, payload: bytes) -> bytes:
    """A deflated file with this payload after the meta information of data."""
    length = int.from_bytes(data[140:144], "little")
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return data[: 144 + length] + packer.compress(payload) + packer.flush()


def colours(height=72, width=80, seed=0):
    """(H, W, 3) uint8 with every kind of value."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def compressed(pixels, syntax, photometric=None, **options) -> bytes:
    """A file in a compressed transfer syntax, by its encoder; options are the encoder's."""
    if syntax in (JPEGLosslessSV1, JPEGLossless):
        return _by_gdcm(to_bytes(with_pixels(pixels, photometric)), syntax)
    if syntax == JPEG2000Lossless:
        stream = encode_array(pixels, photometric_interpretation=1 if pixels.ndim == 3 else 2)
        return to_bytes(encapsulated(pixels, [stream], photometric), syntax)
    made = with_pixels(pixels, photometric)
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.compress(syntax, generate_instance_uid=False, **options)
    return to_bytes(made, syntax)


def _by_gdcm(data: bytes, syntax) -> bytes:
    import gdcm

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "image.dcm"
        path.write_bytes(data)
        reader = gdcm.ImageReader()
        reader.SetFileName(str(path))
        assert reader.Read()
        change = gdcm.ImageChangeTransferSyntax()
        change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(str(syntax))))
        change.SetInput(reader.GetImage())
        assert change.Change()
        writer = gdcm.ImageWriter()
        writer.SetFileName(str(path))
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        assert writer.Write()
        return path.read_bytes()
