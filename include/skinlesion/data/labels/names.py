"""The names of diagnoses that public sets, their notebooks and clinics use, beside those of the ISIC Archive's taxonomy."""

from __future__ import annotations

from typing import Final, NamedTuple

OTHER_NAMES: Final[dict[str, str]] = {
    # The archive's earlier words (`LegacyDxEnum` of isic-metadata), which ISIC 2020 uses. `other` and `adnexal tumor` are not
    # here, because no class follows from them.
    "aimp": "Atypical intraepithelial melanocytic proliferation",
    "angiofibroma or fibrous papule": "Angiofibroma",
    "acrochordon": "Fibroepithelial polyp",
    "atypical melanocytic proliferation": "Indeterminate melanocytic proliferations",
    "cafe-au-lait macule": "Cafe au lait macule or patch",
    "mucosal melanosis": "Mucosal melanotic macule",
    # PAD-UFES-20, MILK10k
    "ack": "Solar or actinic keratosis",
    "nev": "Nevus",
    "sek": "Seborrheic keratosis",
    "bod": "Squamous cell carcinoma in situ, Bowens disease",
    "sccka": "Squamous cell carcinoma, NOS",
    "ben_oth": "Benign",
    "mal_oth": "Malignant",
    "inf": "Inflammatory or infectious diseases",
    # derm7pt, Fitzpatrick17k, DDI and the words of clinics
    "becker nevus": "Benign epidermal proliferations",
    "benign lesion": "Benign",
    "benign neoplasm": "Benign",
    "benign tumor": "Benign",
    "non-neoplastic": "Benign",
    "malignant lesion": "Malignant",
    "malignant neoplasm": "Malignant",
    "malignant tumor": "Malignant",
    "malignancy": "Malignant",
    "cutaneous t cell lymphoma": "Lymphocytic proliferations - T-Cell/NK",
    "ctcl": "Lymphocytic proliferations - T-Cell/NK",
    "cutaneous b cell lymphoma": "Lymphocytic proliferations - B-Cell",
    "dermatofibrosarcoma": "Dermatofibrosarcoma protuberans",
    "dfsp": "Dermatofibrosarcoma protuberans",
    "dermatosis papulosa nigra": "Seborrheic keratosis",
    "epidermal cyst": "Infundibular or epidermal cyst",
    "epidermoid cyst": "Infundibular or epidermal cyst",
    "freckle": "Ephelis",
    "labial lentigo": "Mucosal melanotic macule",
    "simple lentigo": "Lentigo simplex",
    "lmm": "Melanoma Invasive, On chronically sun-exposed skin or lentigo maligna melanoma",
    "lmm in situ": "Melanoma in situ, Lentigo maligna type",
    "ssm": "Melanoma Invasive, Superficial spreading",
    "alm": "Melanoma Invasive, Acral or Acral-lentiginous",
    "melanosis": "Flat melanotic pigmentations - not melanocytic nevus",
    "melanotic macule": "Flat melanotic pigmentations - not melanocytic nevus",
    "merkel cell cancer": "Merkel cell carcinoma",
    "nevus flammeus": "Capillary vascular malformation",
    "nevus sebaceous": "Nevus sebaceus",
    "port wine stain": "Capillary vascular malformation",
    "sebaceous gland hyperplasia": "Sebaceous hyperplasia",
    "skin tag": "Fibroepithelial polyp",
    "subungual hematoma": "Subungual hemorrhage",
    "hematoma": "Hemorrhage",
    "wart": "Verruca",
    "viral wart": "Verruca",
    "verruca vulgaris": "Verruca",
    "molluscum contagiosum": "Molluscum",
}
"""Other names, and their present ones in the taxonomy, where neither its names nor `DISEASES` have their words."""


class Disease(NamedTuple):
    """A disease by its words: a name that has all words of one of the heads, and no word that is not among `with_words`.

    Attributes:
        name: the name in the taxonomy.
        heads: the sets of words that name it.
        with_words: words that may stand beside them without making it another disease.
    """

    name: str
    heads: tuple[frozenset[str], ...]
    with_words: frozenset[str]


def _disease(name: str, heads: str, with_words: str) -> Disease:
    of_any = frozenset(f"{with_words} {_OF_ANY}".split())
    return Disease(name, tuple(frozenset(head.split()) for head in heads.split(",")), of_any)


_OF_ANY: Final = (
    "skin cutaneous primary lesion variant subtype histologically histopathologically biopsy confirmed proven recurrent "
    "persistent multiple solitary single pigmented ulcerated traumatized irritated inflamed early thin thick small large giant "
    "left right classic classical typical superficial deep localized"
)
_LENTIGO_MALIGNA: Final = "Melanoma in situ, Lentigo maligna type"

DISEASES: Final = (
    _disease(
        "Malignant melanocytic proliferations (Melanoma)",
        "melanoma",
        "malignant invasive in situ spreading nodular lentigo maligna acral lentiginous desmoplastic amelanotic "
        "hypomelanotic spitzoid nevoid mucosal subungual neurotropic regressed regressing metastatic metastasis satellite "
        "transit mel ssm lmm alm nm mis nodulare",
    ),
    _disease(_LENTIGO_MALIGNA, "lentigo maligna,lm", "in situ melanoma lentigo maligna lm hutchinson"),
    _disease(
        "Basal cell carcinoma",
        "basal cell carcinoma,basal cell cancer,basal cell epithelioma,basalioma,basaliom,bcc",
        "nodular infiltrative infiltrating invasive morpheaform morpheiform morphoeic morpheic morphoeiform morphea "
        "sclerosing sclerodermiform micronodular cystic solid adenoid fibroepithelial keratotic metatypical multifocal "
        "aggressive high low risk bcc sbcc nbcc basal cell carcinoma",
    ),
    _disease(
        "Squamous cell carcinoma, NOS",
        "squamous cell carcinoma,squamous cell cancer,spinalioma,spinaliom,scc,sccis,cscc",
        "in situ invasive keratinizing acantholytic spindle well moderately poorly differentiated high low risk "
        "keratoacanthoma bowen disease scc sccis iec squamous cell carcinoma intraepidermal intraepithelial",
    ),
    _disease(
        "Squamous cell carcinoma in situ, Bowens disease",
        "bowen disease,bowen,intraepidermal carcinoma,intraepithelial carcinoma",
        "squamous cell carcinoma in situ scc iec morbus bowen disease bowenoid",
    ),
    _disease(
        "Solar or actinic keratosis",
        "actinic keratosis,solar keratosis,senile keratosis",
        "hypertrophic hyperkeratotic atrophic lichenoid bowenoid acantholytic solar actinic ak ack",
    ),
    _disease(  # HAM10000's `akiec`: one of the two, and it is not known which
        "akiec",
        "actinic keratosis carcinoma,actinic keratosis bowen",
        "intraepithelial intraepidermal carcinoma bowen disease squamous cell in situ akiec ak",
    ),
    _disease(
        "Nevus",
        "nevus,mole",
        "melanocytic nevocellular nevocytic nevus mole nv benign common dysplastic atypical clark congenital acquired blue "
        "junctional junction compound dermal intradermal spitz reed spitzoid halo sutton combined acral agminated miescher "
        "unna papillomatous banal lentiginous spilus speckled meyerson mildly moderately severely mild moderate severe "
        "with atypia dysplasia flat raised regular cellular pattern",
    ),
    _disease(
        "Seborrheic keratosis",
        "seborrheic keratosis,seborrheic wart,verruca seborrheic,stucco keratosis",
        "clonal acanthotic hyperkeratotic reticulated adenoid macular benign flat sk sek bkl",
    ),
    _disease(
        "Pigmented benign keratosis",
        "benign keratosis",
        "benign like bkl seborrheic solar lentigo lichen planus lichenoid",
    ),
    _disease(
        "Solar lentigo", "solar lentigo,actinic lentigo,senile lentigo,sun lentigo", "benign solar actinic senile"
    ),
    _disease(
        "Lichen planus like keratosis", "lichen planus keratosis,lichenoid keratosis,lplk", "benign like lplk blk bkl"
    ),
    _disease(
        "Dermatofibroma",
        "dermatofibroma,fibrous histiocytoma,histiocytoma",
        "benign fibrous cellular aneurysmal epithelioid atypical hemosiderotic df",
    ),
    _disease(
        "Hemangioma",
        "hemangioma,angioma",
        "benign cherry senile infantile capillary cavernous spider thrombosed strawberry lobular eruptive vascular vasc",
    ),
    _disease("Angiokeratoma", "angiokeratoma", "benign thrombosed vascular"),
    _disease("Pyogenic granuloma", "pyogenic granuloma", "benign vascular telangiectatic granuloma"),
    _disease("Benign soft tissue proliferations - Vascular", "vascular lesion,vascular malformation", "benign vasc"),
)
"""Where a name fits several of them, the one with the longest head counts, and the first of equals."""
