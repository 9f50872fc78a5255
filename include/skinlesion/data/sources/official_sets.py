"""The published data sets that `skinlesion fetch` downloads: addresses, checksums, licences and attributions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from skinlesion.data.sources.settings import SourceSettings
from skinlesion.foundation.checksum import Checksum

NON_COMMERCIAL: Final = """Creative Commons Attribution-NonCommercial 4.0 International (CC BY-NC 4.0)
https://creativecommons.org/licenses/by-nc/4.0/legalcode
"""

NON_COMMERCIAL_ALIKE: Final = """Creative Commons Attribution-NonCommercial-ShareAlike 4.0 International (CC BY-NC-SA 4.0)
https://creativecommons.org/licenses/by-nc-sa/4.0/legalcode
"""

_HAM10000: Final = (
    "HAM10000 Dataset: (c) by ViDIR Group, Department of Dermatology, Medical University of Vienna. Tschandl P., "
    'Rosendahl C., Kittler H.: "The HAM10000 dataset, a large collection of multi-source dermatoscopic images of common '
    'pigmented skin lesions", Scientific Data 5, 180161 (2018), https://doi.org/10.1038/sdata.2018.161, data at '
    "https://doi.org/10.7910/DVN/DBW86T\n"
)

_BCN20000: Final = (
    "BCN_20000 Dataset: (c) Department of Dermatology, Hospital Clínic de Barcelona. Combalia M. et al.: "
    '"BCN20000: Dermoscopic Lesions in the Wild" (2019), https://arxiv.org/abs/1908.02288\n'
)

_MSK: Final = (
    "MSK Dataset: (c) Anonymous. Codella N. et al. (2018), https://arxiv.org/abs/1710.05006, "
    "https://arxiv.org/abs/1902.03368\n"
)


class OfficialFile(NamedTuple):
    """A file of a set: its address below the server's, its name, and its checksum where its publisher gives one.

    A zip without a checksum is checked by the MD5 that its server sends and by the CRC-32 of each member.
    """

    address: str
    name: str
    checksum: Checksum | None = None


@dataclass(frozen=True)
class OfficialSet:
    """A published data set. Tables come first, so that no image arrives without its row."""

    title: str
    server: Literal["challenge_address", "dataverse_address"]
    files: tuple[OfficialFile, ...]
    terms: str
    attribution: str

    @property
    def licence(self) -> str:
        """The text that goes beside the images."""
        return f"Images and metadata of {self.title} stand under this licence:\n\n{self.terms}"

    def address(self, file: OfficialFile, config: SourceSettings) -> str:
        """Return the whole address of a file on the server that the settings name."""
        server: str = getattr(config, self.server)
        return f"{server.rstrip('/')}/{file.address}"


def _challenge(year: int, *names: str) -> tuple[OfficialFile, ...]:
    return tuple(OfficialFile(f"{year}/{name}", name) for name in names)


def _dataverse(number: str, name: str, md5: str) -> OfficialFile:
    return OfficialFile(f"api/access/datafile/{number}", name, Checksum("md5", md5, "published by Dataverse"))


SETS: Final = {
    "isic-2019": OfficialSet(
        title="ISIC 2019: Training",
        server="challenge_address",
        files=_challenge(
            2019,
            "ISIC_2019_Training_GroundTruth.csv",
            "ISIC_2019_Training_Metadata.csv",
            "ISIC_2019_Training_Input.zip",
        ),
        terms=NON_COMMERCIAL,
        attribution=_BCN20000 + _HAM10000 + _MSK,
    ),
    "isic-2018": OfficialSet(
        title="ISIC 2018, task 3: Training",
        server="challenge_address",
        files=_challenge(
            2018,
            "ISIC2018_Task3_Training_GroundTruth.zip",
            "ISIC2018_Task3_Training_LesionGroupings.csv",
            "ISIC2018_Task3_Training_Input.zip",
        ),
        terms=NON_COMMERCIAL,
        attribution=_HAM10000 + _MSK,
    ),
    "ham10000": OfficialSet(
        title="HAM10000",
        server="dataverse_address",
        files=(
            # The original upload: the table that Dataverse makes of it has other bytes than the checksum says.
            _dataverse("4338392?format=original", "HAM10000_metadata.csv", "8f85fb1aa29d80a2797247e434deb79d"),
            _dataverse("3172585", "HAM10000_images_part_1.zip", "4639bfa73ab251610530a97c898e6e46"),
            _dataverse("3172584", "HAM10000_images_part_2.zip", "da43d6cc50f6613013be07e8986b384b"),
        ),
        terms=NON_COMMERCIAL_ALIKE,
        attribution=_HAM10000,
    ),
}
