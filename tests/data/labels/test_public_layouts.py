"""The tables of public sets as their authors publish them, with rows of our own; and what spreadsheets write."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest
from openpyxl import Workbook
from tests.data.labels.tables import Join, values

from skinlesion.data.labels.join import join_tables
from skinlesion.data.labels.joined import Labels
from skinlesion.data.labels.of_dataset import label_tables, labels_of_dataset
from skinlesion.data.settings import DataSettings
from skinlesion.foundation.errors import DataError

ISIC_2024 = (
    "isic_id,target,patient_id,age_approx,sex,anatom_site_general,clin_size_long_diam_mm,image_type,tbp_tile_type,"
    "attribution,copyright_license,lesion_id,iddx_full,iddx_1,iddx_2,iddx_3,iddx_4,iddx_5,mel_mitotic_index,mel_thick_mm,"
    "tbp_lv_dnn_lesion_confidence\n"
    "ISIC_0015670,0,IP_1235828,60.0,male,lower extremity,3.04,TBP tile: close-up,3D: white,MSK,CC-BY,,Benign,Benign,,,,,,,97.5\n"
    "ISIC_0082829,1,IP_3249371,65,female,posterior torso,3.4,TBP tile: close-up,3D: XP,UQ,CC-0,IL_6727506,"
    "Malignant::Malignant melanocytic proliferations (Melanoma)::Melanoma in situ,Malignant,"
    "Malignant melanocytic proliferations (Melanoma),Melanoma in situ,,,,,70.4\n"
    "ISIC_0096034,0,IP_6723298,NA,,NA,3,TBP tile: close-up,3D: XP,UQ,CC-0,,Indeterminate::Indeterminate melanocytic "
    "proliferations::Atypical Spitz tumor,Indeterminate,Indeterminate melanocytic proliferations,Atypical Spitz tumor,,,,,71\n"
    "ISIC_0104229,0,IP_8057229,55,male,head/neck,3,TBP tile: close-up,3D: XP,UQ,CC-0,IL_1,Malignant,Malignant,,,,,,,2\n"
)
PAD_UFES = (
    "patient_id,lesion_id,smoke,drink,background_father,background_mother,age,pesticide,gender,skin_cancer_history,"
    "cancer_history,has_piped_water,has_sewage_system,fitspatrick,region,diameter_1,diameter_2,diagnostic,itch,grew,hurt,"
    "changed,bleed,elevation,img_id,biopsed\n"
    "PAT_1516,1765,,,,,8,,,,,,,,ARM,,,NEV,FALSE,FALSE,FALSE,FALSE,FALSE,FALSE,PAT_1516_1765_530.png,FALSE\n"
    "PAT_46,881,FALSE,FALSE,POMERANIA,POMERANIA,55,FALSE,FEMALE,TRUE,TRUE,TRUE,TRUE,3.0,NECK,6.0,5.0,BCC,TRUE,TRUE,FALSE,"
    "TRUE,TRUE,TRUE,PAT_46_881_939.png,TRUE\n"
    "PAT_9,1,,,,,60,,MALE,,,,,,FACE,,,ACK,UNK,UNK,UNK,UNK,UNK,UNK,PAT_9_1_2.png,FALSE\n"
    "PAT_10,2,,,,,61,,MALE,,,,,,FACE,,,SEK,,,,,,,PAT_10_2_3.png,FALSE\n"
    "PAT_11,3,,,,,62,,MALE,,,,,,NOSE,,,SCC,,,,,,,PAT_11_3_4.png,TRUE\n"
    "PAT_12,4,,,,,63,,MALE,,,,,,NOSE,,,MEL,,,,,,,PAT_12_4_5.png,TRUE\n"
)
DERM7PT = (
    "case_num,diagnosis,seven_point_score,pigment_network,level_of_diagnostic_difficulty,elevation,location,sex,management,"
    "clinic,derm,case_id,notes\n"
    "1,basal cell carcinoma,0,absent,medium,nodular,abdomen,female,excision,NEL/NEL027.JPG,NEL/Nel026.jpg,,\n"
    "2,melanoma (less than 0.76 mm),5,atypical,high,flat,back,male,excision,NEL/NEL037.JPG,NEL/Nel038.jpg,,\n"
    "3,reed or spitz nevus,2,typical,low,flat,back,male,no further examination,A/A.JPG,Fbl/Fbl045.jpg,,\n"
)
FITZPATRICK = (
    "md5hash,fitzpatrick_scale,fitzpatrick_centaur,label,nine_partition_label,three_partition_label,qc,url,url_alphanum\n"
    "5e82a45bc5d78bd24ae9202d194423f8,3,3,drug induced pigmentary changes,inflammatory,non-neoplastic,,http://x,httpx\n"
    "fa2911a9b13b6f8af79cb700937cc14f,1,1,superficial spreading melanoma ssm,malignant melanoma,malignant,,http://x,httpx\n"
    "d2bac3c9e4499032ca8e9b07c7d3bc40,2,3,neurofibroma,benign dermal,benign,,http://x,httpx\n"
    "0a94359e7eaacd7178e06b2823777789,1,1,unheard of tumour,malignant dermal,malignant,,http://x,httpx\n"
    "a39ec3b1f22c08a421fa20535e037bba,1,1,melanoma,benign melanocyte,benign,,http://x,httpx\n"
)
DDI = (
    ",DDI_ID,DDI_file,skin_tone,malignant,disease\n"
    "0,1,000001.png,56,True,melanoma-in-situ\n1,2,000002.png,56,True,subcutaneous-t-cell-lymphoma\n"
    "2,3,000003.png,34,False,seborrheic-keratosis-irritated\n3,4,000004.png,12,False,prurigo-nodularis\n"
)
PH2 = (
    "Image Name,Histological Diagnosis,Common Nevus,Atypical Nevus,Melanoma,Asymmetry,Pigment Network\n"
    "IMD003,,X,,,0,T\nIMD009,,,X,,1,AT\nIMD058,Melanoma,,,X,2,AT\nIMD001,,,,,2,AT\n"
)
MILK10K_TRUTH = (
    "isic_id,AKIEC,BCC,BEN_OTH,BKL,DF,INF,MAL_OTH,MEL,NV,SCCKA,VASC\nA,0,0,1,0,0,0,0,0,0,0,0\nB,0,0,0,0,0,0,0,0,0,1,0\n"
)


TABLES = {
    "isic-2024": ISIC_2024,
    "pad-ufes-20": PAD_UFES,
    "derm7pt": DERM7PT,
    "fitzpatrick17k": FITZPATRICK,
    "ddi": DDI,
    "ph2": PH2,
    "milk10k": MILK10K_TRUTH,
    "isic-2017": "image_id,melanoma,seborrheic_keratosis\nISIC_1,0.0,0.0\nISIC_2,1.0,0.0\nISIC_3,0.0,1.0\nISIC_4,1.0,1.0\n",
    "own, of BCN20000": "bcn_filename,age_approx,anatom_site_general,diagnosis,lesion_id,sex,split\n"
    "BCN_1.jpg,55,back,MEL,BCN_7,male,train\n",
    "own, nested": "file_name,meta.clinical.diagnosis,meta.clinical.benign_malignant,meta.clinical.sex\nA.jpg,nevus,benign,male\n",
    "own, a target alone": "image,target\nA,malignant\nB,0\n",
}
"""Each by the name of its layout."""

READ = {
    "isic-2024": """
        image        | dx                   | label     | lesion_id  | patient_id | source | refused
        ISIC_0015670 | benign               | benign    |            | IP_1235828 | MSK    |
        ISIC_0082829 | mel                  | malignant | IL_6727506 | IP_3249371 | UQ     |
        ISIC_0096034 | atypical spitz tumor | unknown   |            | IP_6723298 | UQ     |
        ISIC_0104229 |                      | unknown   | IL_1       | IP_8057229 | UQ     | diagnosis 'Malignant' is malignant but the table calls the image benign
    """,
    "pad-ufes-20": """
        image             | dx  | label     | lesion_id | patient_id | sex    | site
        PAT_1516_1765_530 | nv  | benign    | 1765      | PAT_1516   |        | ARM
        PAT_46_881_939    | bcc | malignant | 881       | PAT_46     | female | NECK
        PAT_9_1_2         | ak  | unknown   | 1         | PAT_9      | male   | FACE
        PAT_10_2_3        | bkl | benign    | 2         | PAT_10     | male   | FACE
        PAT_11_3_4        | scc | malignant | 3         | PAT_11     | male   | NOSE
        PAT_12_4_5        | mel | malignant | 4         | PAT_12     | male   | NOSE
    """,
    "derm7pt": """
        image  | dx  | label     | lesion_id | sex    | site
        Nel026 | bcc | malignant | 1         | female | abdomen
        Nel038 | mel | malignant | 2         | male   | back
        Fbl045 | nv  | benign    | 3         | male   | back
    """,
    "fitzpatrick17k": """
        dx           | label     | refused
        benign       | benign    |
        mel          | malignant |
        neurofibroma | benign    |
        malignant    | malignant |
                     | unknown   | diagnosis 'melanoma' is malignant but the table calls the image benign
    """,
    "ddi": """
        image  | dx        | label
        000001 | mel       | malignant
        000002 | malignant | malignant
        000003 | bkl       | benign
        000004 | benign    | benign
    """,
    "ph2": """
        image  | dx  | refused
        IMD003 | nv  |
        IMD009 | nv  |
        IMD058 | mel |
        IMD001 |     | expected one 1 and else 0 in the columns of diagnoses; found COMMON_NEVUS=, ATYPICAL_NEVUS=, MELANOMA=
    """,
    "isic-2017": """
        image  | dx
        ISIC_1 | nv
        ISIC_2 | mel
        ISIC_3 | bkl
        ISIC_4 |
    """,
    "own, of BCN20000": """
        image | dx  | lesion_id | source
        BCN_1 | mel | BCN_7     | BCN20000
    """,
    "own, nested": """
        image | dx | sex
        A     | nv | male
    """,
    "own, a target alone": """
        dx
        malignant
        benign
    """,
    "milk10k": """
        image | dx     | label
        A     | benign | benign
        B     | scc    | malignant
    """,
}
"""What is read of each of `TABLES`."""


@pytest.mark.parametrize("kind", READ)
def test_a_public_set_is_read_as_it_is_published(join: Join, kind: str) -> None:
    labels = join(TABLES[kind])
    columns, *expected = ([cell.strip() for cell in line.split("|")] for line in READ[kind].strip("\n ").splitlines())
    assert labels.layouts == {"table1.csv": kind.partition(",")[0]}
    assert values(labels, *columns) == expected


def test_a_ground_truth_by_lesion_finds_its_images_in_another_table(join: Join) -> None:
    truth = MILK10K_TRUTH.replace("isic_id", "lesion_id").replace("\nA", "\nIL_1").replace("\nB", "\nIL_2")
    metadata = "lesion_id,image_type,isic_id,attribution,age_approx,sex,skin_tone_class,site\n" + "".join(
        f"{lesion},{kind},{image},MILK study team,60,male,4,trunk\n"
        for lesion, kind, image in [
            ("IL_1", "clinical: close-up", "ISIC_1"), ("IL_1", "dermoscopic", "ISIC_2"), ("IL_2", "dermoscopic", "ISIC_3"),
            ("IL_3", "dermoscopic", "ISIC_4"),
        ]
    )  # fmt: skip
    labels = join(truth, metadata)
    assert values(labels, "image", "dx", "lesion_id", "sex", "refused") == [
        ["ISIC_1", "benign", "IL_1", "male", ""], ["ISIC_2", "benign", "IL_1", "male", ""],
        ["ISIC_3", "scc", "IL_2", "male", ""], ["ISIC_4", "", "IL_3", "male", ""],
    ]  # fmt: skip
    with pytest.raises(DataError, match=r"table1\.csv has one row a lesion .* no other table says which images"):
        join(truth)


def test_the_full_path_of_isic_2024_alone_is_enough(join: Join) -> None:
    labels = join(
        "isic_id,iddx_full\nA,Benign\n"
        'B,"Benign::Benign melanocytic proliferations::Nevus::Nevus, Atypical, Dysplastic, or Clark"\n'
        "C,Malignant::Malignant epidermal proliferations::A name of next year\n"
    )
    assert values(labels, "dx", "label") == [
        ["benign", "benign"], ["nv", "benign"], ["malignant epidermal proliferations", "malignant"],
    ]  # fmt: skip


# --- Spreadsheets -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "table",
    [
        "image;dx;age;;\nA;nv;54,0;;\n;;;;\nB;mel;61;;\n;;;;\n",
        "sep=;\nimage;dx;age\nA;nv;54,0\n\nB;mel;61\n",
        '"sep=,"\r\nimage,dx,age\r\nA,nv,54\r\nB,mel,61\r\n',
        "image;dx;age;size, mm\nA;nv;54;3,5\nB;mel;61;2,1\n",
        "image\tdx\tage\tnote, or none\nA\tnv\t54\tx\nB\tmel\t61\ty\n",
        "image,dx,age\nA,nv,54,,\nB,mel,61\n",
        "image,dx,age\nA,nv,54\n  , ,\nB,mel,61\n",
        "Image ID,DX,Age\nA,nv,54\nB,mel,61\n",
        "Export of the clinic, 2026\n\nimage;dx;age\nA;nv;54\nB;mel;61\n",
        '# of: the study\n"image","dx","age"\n"A","nv","54"\nB,mel,61\n',
    ],
)
def test_what_a_spreadsheet_adds_is_left_out(join: Join, table: str) -> None:
    assert values(join(table), "image", "dx", "age") == [["A", "nv", 54], ["B", "mel", 61]]


def workbook(path: Path, rows: list[list[object]], title: str = "") -> Path:
    book = Workbook()
    sheet = book.worksheets[0]
    for row in ([[title], []] if title else []) + rows:
        sheet.append(row)
    book.create_sheet("notes").append(["not", "read"])
    book.save(path)
    return path


ROWS: list[list[object]] = [
    ["Image Name", "DX", "lesion_id", "age", "seen"],
    ["A.jpg", "Naevus", 7, 54.0, datetime.date(2026, 1, 2)],
    [24585, "mel", 8.0, None, True],
    [],
    [None, None, None, None, None],
    ["C", "#N/A", "#N/A", "61,5", None],
]


@pytest.mark.parametrize("title", ["", "Export of the clinic, 2026"])
@pytest.mark.parametrize("name", ["table.xlsx", "table.csv"])
def test_a_workbook_is_read_by_its_content_and_its_header_is_found(tmp_path: Path, title: str, name: str) -> None:
    labels = join_tables([workbook(tmp_path / name, ROWS, title)])
    above = 2 if title else 0
    assert values(labels, "image", "dx", "lesion_id", "row") == [
        ["A", "nv", "7", 2 + above], ["24585", "mel", "8", 3 + above], ["C", "", "", 6 + above],
    ]  # fmt: skip
    assert labels.rows["age"].tolist()[::2] == [54.0, 61.5]


def test_a_workbook_with_two_tables_of_images_is_named_and_notes_may_come_first(tmp_path: Path) -> None:
    path = tmp_path / "table.xlsx"
    book = Workbook()
    book.worksheets[0].append(["Contents", "of this file"])
    book.create_sheet("train").append(["image", "dx"])
    book["train"].append(["A", "nv"])
    book.save(path)
    assert values(join_tables([path]), "image") == [["A"]]
    book.create_sheet("test").append(["image", "dx"])
    book.save(path)
    with pytest.raises(DataError, match=r"in the sheets 'train' and 'test'; expected one table a file"):
        join_tables([path])


def in_labels(folder: Path, **files: str | None) -> Labels:
    (folder / "labels").mkdir(exist_ok=True)
    for name, content in files.items():
        path = folder / "labels" / name.replace("_", ".")
        if content is None:
            workbook(path, [["image", "dx"], ["X", "nv"]])
        else:
            path.write_text(content)
    return labels_of_dataset(DataSettings.of({"dataset": folder}), {})


def test_every_table_in_labels_is_read_and_what_is_none_is_named(tmp_path: Path) -> None:
    labels = in_labels(
        tmp_path,
        a_csv="image,dx\nA,nv\n",
        b_tsv="image\tdx\nB,1\tmel\n",
        c_tab="image\tdx\nC\tnv\n",
        d_TSV="image\tdx\nD\tnv\n",
        e_xlsx=None,
        f_xls="old",
        g_txt="image\tdx\n",
        h_csv_gz="zip",
        LICENSE_txt="free",
        vocabulary_csv="word,dx\nnv,mel\n",
    )
    assert labels.rows["image"].tolist() == ["A", "B,1", "C", "D", "X"]
    assert set(labels.rows["dx"]) == {"mel"}
    assert labels.notes == ["Not read in labels/: f.xls, g.txt, h.csv.gz. Tables are .csv, .tsv, .tab, .xlsx, .xlsm."]


@pytest.mark.parametrize("suffix", [".tsv", ".xlsx"])
def test_the_main_table_may_have_another_format(tmp_path: Path, suffix: str) -> None:
    main = tmp_path / f"diagnoses{suffix}"
    if suffix == ".xlsx":
        workbook(main, [["image", "dx"], ["M", "nv"]])
    else:
        main.write_text("image\tdx\nM\tnv\n")
    labels = in_labels(tmp_path, a_csv="image,dx\nA,nv\nM,Nevus\n")
    assert values(labels, "image", "expected") == [["M", True], ["A", False]]
    (tmp_path / "diagnoses.csv").write_text("image,dx\nM,nv\n")
    with pytest.raises(DataError, match=rf"has diagnoses\.csv and diagnoses\{suffix}; expected one of them"):
        label_tables(tmp_path)
