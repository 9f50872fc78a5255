"""The data sets that `skinlesion fetch` knows: where their files lie, what is known of them, and their terms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

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


@dataclass(frozen=True)
class OfficialFile:
    """A file of a set: its name and address below the server's, and its checksum where its publisher tells one.

    A zip without a checksum is checked by what its server tells and by the CRC-32 of each member.
    """

    name: str
    address: str
    checksum: Checksum | None = None

    @property
    def is_zip(self) -> bool:
        """Tell whether it is unpacked; else it is a table."""
        return self.name.endswith(".zip")


@dataclass(frozen=True)
class OfficialSet:
    """A published data set: tables first, so that no image comes without its row."""

    title: str
    server: Literal["challenge_address", "dataverse_address"]
    files: tuple[OfficialFile, ...]
    licence: str
    attribution: str

    def address(self, file: OfficialFile, config: SourceSettings) -> str:
        """Give the whole address of a file on the server of the settings."""
        server: str = getattr(config, self.server)
        return f"{server.rstrip('/')}/{file.address}"


def _dataverse(name: str, number: str, md5: str) -> OfficialFile:
    return OfficialFile(name, f"api/access/datafile/{number}", Checksum("md5", md5, "published by Dataverse"))


SETS: Final = {
    "isic-2019": OfficialSet(
        title="ISIC 2019: Training",
        server="challenge_address",
        files=(
            OfficialFile("ISIC_2019_Training_GroundTruth.csv", "2019/ISIC_2019_Training_GroundTruth.csv"),
            OfficialFile("ISIC_2019_Training_Metadata.csv", "2019/ISIC_2019_Training_Metadata.csv"),
            OfficialFile("ISIC_2019_Training_Input.zip", "2019/ISIC_2019_Training_Input.zip"),
        ),
        licence=NON_COMMERCIAL,
        attribution=_BCN20000 + _HAM10000 + _MSK,
    ),
    "isic-2018": OfficialSet(
        title="ISIC 2018, task 3: Training",
        server="challenge_address",
        files=(
            OfficialFile("ISIC2018_Task3_Training_GroundTruth.zip", "2018/ISIC2018_Task3_Training_GroundTruth.zip"),
            OfficialFile(
                "ISIC2018_Task3_Training_LesionGroupings.csv", "2018/ISIC2018_Task3_Training_LesionGroupings.csv"
            ),
            OfficialFile("ISIC2018_Task3_Training_Input.zip", "2018/ISIC2018_Task3_Training_Input.zip"),
        ),
        licence=NON_COMMERCIAL,
        attribution=_HAM10000 + _MSK,
    ),
    "ham10000": OfficialSet(
        title="HAM10000",
        server="dataverse_address",
        files=(
            # As it was uploaded: what Dataverse makes of a table has other bytes than its checksum says.
            _dataverse("HAM10000_metadata.csv", "4338392?format=original", "8f85fb1aa29d80a2797247e434deb79d"),
            _dataverse("HAM10000_images_part_1.zip", "3172585", "4639bfa73ab251610530a97c898e6e46"),
            _dataverse("HAM10000_images_part_2.zip", "3172584", "da43d6cc50f6613013be07e8986b384b"),
        ),
        licence=NON_COMMERCIAL_ALIKE,
        attribution=_HAM10000,
    ),
}
