"""The words for diagnoses that public sets, notebooks and clinics use; and those at which nobody may guess."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.data.labels.tables import values

from skinlesion.data.labels.diagnosis import canonical_dx, is_recognised, label_of
from skinlesion.data.labels.join import join_tables
from skinlesion.data.labels.spelling import may_be_malignant
from skinlesion.data.labels.vocabulary import read_vocabulary
from skinlesion.foundation.errors import DataError

KNOWN = {
    "mel": """
        melanoma; Melanomas; Malignant melanoma; melanoma maligna in situ; melanoma (in situ); Melanoma in-situ; melanoma-in-situ
        melanoma (less than 0.76 mm); melanoma (0.76 to 1.5 mm); melanoma (more than 1.5 mm); melanoma (Breslow 1,2 mm)
        Melanoma <1mm; melanoma stage IIb; pT1a melanoma; melanoma, Clark level III; melanoma, NOS; Invasive melanoma
        superficial spreading melanoma ssm; nodular-melanoma-(nm); Acral Lentiginous Melanoma; melanoma-acral-lentiginous
        lentigo maligna; Lentigo Maligna Melanoma; melanoma metastasis; metastatic melanoma; amelanotic melanoma; MELANOMA_NOS
        Melanoma in situ, Lentigo maligna type; Malignant melanocytic proliferations (Melanoma)
    """,
    "bcc": """
        Basal cell carcinoma; basal-cell carcinomas; Basal Cell Carcinoma (BCC); BCC nodular; superficial BCC
        basal-cell-carcinoma-nodular; solid cystic basal cell carcinoma; basal cell carcinoma morpheiform; pigmented BCC; Basaliom
        basal_cell_carcinoma; basal cell carcinoma, infiltrative; basal cell cancer; Basal cell carcinoma, Nodular
    """,
    "scc": """
        Squamous cell carcinoma; SCC in situ; SCCis; squamous-cell-carcinoma-in-situ; BOD; Bowen's disease; Bowen\u2019s disease
        Bowen disease; Morbus Bowen; squamous cell carcinoma in situ (Bowen's); well differentiated squamous cell carcinoma
        intraepidermal carcinoma; invasive SCC; SCCKA; squamous-cell-carcinoma-keratoacanthoma
        Squamous cell carcinoma in situ, Bowens disease
    """,
    "ak": "actinic keratosis; Actinic keratoses; ACK; solar keratosis; Actinic Keratosis (AK); hypertrophic actinic keratosis; Solar or actinic keratosis",
    "akiec": """
        Actinic keratoses and intraepithelial carcinoma; Actinic keratoses and intraepithelial carcinoma / Bowen's disease
        Actinic keratosis / Bowen's disease
    """,
    "nv": """
        Melanocytic nevi; melanocytic naevus; naevus; Naevi; NEV; mole; common nevus; Atypical Nevus; dysplastic naevus
        clark nevus; Clark's naevus; combined nevus; congenital nevus; dermal nevus; blue naevi; reed or spitz nevus
        recurrent nevus; intradermal nevus; compound naevus; junctional nevus; halo nevus; Spitz nevus; nevocytic nevus
        severely dysplastic nevus; congenital melanocytic naevus; N\u00e4vus; melanocytic-nevi; benign nevus
        Nevus; Nevus, Atypical, Dysplastic, or Clark; Blue nevus, Cellular
    """,
    "bkl": """
        Benign keratosis-like lesions; seborrheic keratosis; Seborrhoeic keratoses; SEK; seborrheic-keratosis-irritated
        solar lentigo; solar lentigines; lichen planus-like keratosis; lichenoid keratosis; benign keratosis; actinic lentigo
    """,
    "df": "dermatofibroma; Dermatofibromas; fibrous histiocytoma",
    "vasc": """
        Vascular lesions; vascular lesion; haemangioma; cherry angioma; angiokeratoma; pyogenic granuloma; angiomas
        cherry haemangiomas; port-wine stain; Hemangioma, Cherry
    """,
}
BENIGN = "lentigo; melanosis; wart; verruca vulgaris; epidermoid cyst; skin tag; neurofibroma; sebaceous hyperplasia; freckles"
MALIGNANT = "Kaposi's sarcoma; kaposi-sarcoma; merkel cell carcinoma; mycosis-fungoides; malignant lesion; DFSP; keratoacanthoma"
MAY_BE_MALIGNANT = """
    no melanoma; not melanoma; melanoma excluded; melanoma ruled out; rule out melanoma; R/O melanoma; melanoma?; ? melanoma
    suspected melanoma; suspicious for melanoma; melanoma vs nevus; melanoma or nevus; nevus or melanoma; non-melanoma
    nonmelanoma; melanoma (-); melanoma: 0; melanoma: no; melanoma-like lesion; history of melanoma; scar after melanoma
    possible BCC; BCC/SCC; BCC + SCC; susp. SCC; mel/nv; collision of nevus and melanoma; nevus, melanoma excluded; NMSC
    carcinoma; skin cancer; cancer; Hautkrebs; carcinoma basocelular; malignes Melanom; cutaneous lymphoma, unclear
    angiosarcoma?; malignancy not excluded; metastasis; bowenoid; mammary paget; no evidence of malignancy; benign melanoma
    m\u00e9lanome; \u00e9pith\u00e9lioma; melanoom; c\u00e1ncer de piel; basal cell ca; Plattenepithel-Ca; \u043c\u0435\u043b\u0430\u043d\u043e\u043c\u0430; \u9ed1\u8272\u7d20\u7624
    melonoma; melanma; mellanoma; basal cell carcimoma; squamos carcinma; maligant; metastsis
    epithelioma of Malherbe; Lymphom; melanoma 50%; no BCC; benign (not malignant)
"""
NOT_MALIGNANT = "melanocytic; melanocytic lesion; melanocytoma; zebra; other; miscellaneous; nevus?; suspicious; psoriasis; melanonychia; adenoma; xanthoma; granuloma annulare; nevus araneus; myoma; squamous papilloma"


def words(text: str) -> list[str]:
    return [word.strip() for line in text.splitlines() for word in line.split(";") if word.strip()]


@pytest.mark.parametrize(("dx", "word"), [(dx, word) for dx, text in KNOWN.items() for word in words(text)])
def test_a_word_of_the_field_is_known(dx: str, word: str) -> None:
    assert (canonical_dx(word), is_recognised(word), label_of(word)) == (dx, True, label_of(dx))


@pytest.mark.parametrize(
    ("label", "word"), [("benign", one) for one in words(BENIGN)] + [("malignant", one) for one in words(MALIGNANT)]
)
def test_a_word_without_a_code_has_its_class(label: str, word: str) -> None:
    assert (label_of(word), is_recognised(word), label_of(canonical_dx(word))) == (label, True, label)


@pytest.mark.parametrize("word", words(MAY_BE_MALIGNANT))
def test_a_word_that_denies_or_doubts_a_malignant_disease_is_not_guessed_at(word: str) -> None:
    assert (is_recognised(word), may_be_malignant(canonical_dx(word))) == (False, True)


@pytest.mark.parametrize("word", words(NOT_MALIGNANT))
def test_another_word_that_nobody_knows_is_only_counted(word: str) -> None:
    assert (is_recognised(word), may_be_malignant(word)) == (False, False)


def test_a_very_long_word_is_read_at_once() -> None:
    for part in ("melanoma ", "1", "1 mm ", "melanoma (", "0.", "x "):
        assert not is_recognised(part * 20_000 + "not")
        assert may_be_malignant(part * 20_000) == ("melanoma" in part)


def test_the_users_own_words_come_first(tmp_path: Path) -> None:
    own, table = tmp_path / "vocabulary.csv", tmp_path / "table.csv"
    own.write_text("word,dx\nMelanoma  Excluded,benign\nblob,mel\natypical nevus,unknown\nmel?,Melanoma in situ\n")
    table.write_text("image,dx\nA,melanoma excluded\nB,Blob\nC,atypical nevus\nD,mel?\nE,nevus\n")
    labels = join_tables([table], vocabulary=read_vocabulary(own))
    assert values(labels, "dx", "label") == [
        ["benign", "benign"], ["mel", "malignant"], ["unknown", "unknown"], ["mel", "malignant"], ["nv", "benign"],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("word,meaning\na,mel\n", r"lacks the column dx; expected word and dx, one row a word, found: word, meaning"),
        ("word,dx\na,mel\nblob,blurb\n", r"row 3: 'blob' is to mean 'blurb'\. Expected .* benign, malignant, unknown"),
        ("word,dx\nblob,\n", r"row 2: 'blob' is to mean ''"),
        ("word,dx\n,mel\n", r"row 2: '' is to mean 'mel'"),
        ("word,dx\nblob,mel\nBLOB,nv\n", r"row 3: 'blob' has two meanings"),
        ("", r"is empty"),
    ],
)
def test_a_vocabulary_that_says_nothing_is_one_clear_error(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "vocabulary.csv"
    path.write_text(content)
    with pytest.raises(DataError, match=message):
        read_vocabulary(path)
