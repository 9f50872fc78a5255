"""DICOM files of drawn or real pictures, as cameras and archives write them."""

from __future__ import annotations

import io
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import UID, ExplicitVRLittleEndian, RLELossless, generate_uid
from tests.data.images.pictures import encoded

VL_PHOTOGRAPHIC: Final = "1.2.840.10008.5.1.4.1.1.77.1.4"
SECONDARY_CAPTURE: Final = "1.2.840.10008.5.1.4.1.1.7"
JPEG_BASELINE: Final = "1.2.840.10008.1.2.4.50"
JPEG_2000: Final = "1.2.840.10008.1.2.4.90"

Numbers = npt.NDArray[np.uint8 | np.uint16]


def dicom_of(
    pixels: Numbers,
    *,
    photometric: str = "",
    syntax: str = str(ExplicitVRLittleEndian),
    coded: bytes | None = None,
    native: bytes | None = None,
    stored: int = 0,
    planar: int = 0,
    kind: str = VL_PHOTOGRAPHIC,
    **elements: Any,
) -> bytes:
    """Return a DICOM file of pixels, (height, width) or (height, width, 3).

    coded: the frame as it is compressed. native: the pixel data, where they are not simply the pixels.
    """
    is_packed = syntax == RLELossless and coded is None
    data = Dataset()
    data.SOPClassUID, data.SOPInstanceUID = kind, generate_uid()
    data.PatientName, data.PatientBirthDate, data.PatientAddress = "Doe^Jane", "19501231", "1 Example Street"
    data.Modality = "XC"
    data.Rows, data.Columns = pixels.shape[:2]
    data.SamplesPerPixel = 1 if pixels.ndim == 2 else 3
    data.PhotometricInterpretation = photometric or ("MONOCHROME2" if pixels.ndim == 2 else "RGB")
    data.BitsAllocated = 8 * pixels.dtype.itemsize
    data.BitsStored = stored or data.BitsAllocated
    data.HighBit, data.PixelRepresentation = data.BitsStored - 1, 0
    if pixels.ndim == 3:
        data.PlanarConfiguration = planar
    for name, value in elements.items():
        setattr(data, name, value)
    if coded is not None:
        data.PixelData = encapsulate([coded])
        data["PixelData"].VR = "OB"
    else:
        plain = pixels.transpose(2, 0, 1) if planar else pixels
        value = native if native is not None else plain.astype(f"<u{pixels.dtype.itemsize}").tobytes()
        data.PixelData = value + b"\0" * (len(value) % 2)
        data["PixelData"].VR = "OW" if pixels.dtype.itemsize == 2 else "OB"
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = UID(str(ExplicitVRLittleEndian) if is_packed else syntax)
    data.file_meta.MediaStorageSOPClassUID, data.file_meta.MediaStorageSOPInstanceUID = UID(kind), data.SOPInstanceUID
    if is_packed:
        data.compress(RLELossless, generate_instance_uid=False)
    buffer = io.BytesIO()
    data.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def region(meaning: str) -> Sequence:
    """Return the value of AnatomicRegionSequence for a site."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = "T-1", "SRT", meaning
    return Sequence([item])


def coded_as(pixels: Numbers, format: str, **options: Any) -> bytes:
    """Return pixels as Pillow compresses them."""
    return encoded(Image.fromarray(pixels), format, **options)
