"""The settings of promotion: the gate's bounds, approval, and how many versions are kept."""

from __future__ import annotations

from pathlib import Path

from skinlesion.foundation.settings import ProjectPath, RunSettings, setting


class PromotionSettings(RunSettings):
    """What a version must show, and who decides. The DAG of promotion has these in its form."""

    section = "Promotion"

    gate_balanced_accuracy_margin: float = setting(
        0.08,
        "Gate: balanced accuracy, margin",
        "A candidate must be shown to be no worse than the model in service, and than the reference, by more than this, on the same "
        "held-out lesions. "
        "1 switches the criterion off.",
        ge=0,
        le=1,
    )
    gate_sensitivity_margin: float = setting(
        0.08,
        "Gate: sensitivity, margin",
        "The same for the sensitivity for malignant, with each model at its own operating point. 1 switches the criterion off.",
        ge=0,
        le=1,
    )
    gate_confidence: float = setting(
        0.9,
        "Gate: confidence",
        "Confidence of the one-sided bounds that are compared with the margins. With few held-out lesions the bounds are wide "
        "and few candidates pass. 0.5 compares the difference itself.",
        ge=0.5,
        le=0.999,
    )
    gate_error_budget: float = setting(
        0.05,
        "Gate: error budget",
        "Largest probability, over all judgements by the same held-out lesions, that a model comes into service which is worse than the "
        "reference by more than a margin. 1 switches the budget off: each judgement beside the reference then has the gate's confidence.",
        gt=0,
        le=1,
    )
    gate_sealed_share: float = setting(
        0.2,
        "Gate: sealed share",
        "Share of the held-out lesions of each class that no night scores, chosen for good by a hash of each lesion. 0: none.",
        in_form=False,
        ge=0,
        le=0.5,
    )
    gate_sealed_from: int = setting(
        250,
        "Gate: sealed part from",
        "Number of malignant held-out lesions from which a part of them is sealed. With fewer the rest could judge too little.",
        in_form=False,
        ge=1,
        le=1_000_000,
    )
    gate_open_sealed_every: int = setting(
        10,
        "Gate: open the sealed part every",
        "Number of promotions after which the version that comes into service is measured on the sealed lesions. 0: a person alone "
        "opens them.",
        in_form=False,
        ge=0,
        le=100_000,
    )
    gate_min_auroc: float = setting(
        0.8,
        "Gate: lowest malignant AUROC",
        "Required of every version, whatever is in service, also of the first. A first one that is not sure to reach it with the "
        "gate's confidence comes into service provisionally, any other not at all.",
        ge=0,
        le=1,
    )
    gate_min_sensitivity: float = setting(
        0.8,
        "Gate: lowest sensitivity",
        "Sensitivity for malignant at the operating point that every version must reach, with the gate's confidence, as the AUROC.",
        ge=0,
        le=1,
    )
    gate_max_calibration_error: float = setting(
        0.1,
        "Gate: largest calibration error",
        "Largest expected calibration error beyond what chance gives with so many images. Every version must keep to it, also "
        "the first.",
        ge=0,
        le=1,
    )
    gate_max_file_difference: float = setting(
        1e-4,
        "Gate: largest difference of the files",
        "Largest difference between the probabilities of a version's .h5, .keras and .tflite files, each loaded anew.",
        ge=0,
        le=1,
    )
    gate_max_latency: float = setting(
        500,
        "Gate: slowest prediction (ms)",
        "Largest median time for one image on one core of this machine.",
        gt=0,
        le=60_000,
    )
    gate_max_size: float = setting(
        100,
        "Gate: largest model (MB)",
        "Largest size of what is put in service, .h5 and .tflite together.",
        gt=0,
        le=10_000,
    )
    gate_require_data_checks: bool = setting(
        True,
        "Gate: require the data checks",
        "Require that the version's data passed its checks, or that a person accepted what they found.",
    )
    require_approval: bool = setting(
        False,
        "Require approval",
        "A version that passes the gate waits until a person approves it. A change outside the change plan waits in any case.",
    )
    approval_hours: float = setting(
        12, "Wait for approval (hours)", "No answer within this time counts as no.", gt=0, le=720
    )
    change_plan: ProjectPath = setting(
        Path("change_plan.yaml"),
        "Change plan",
        "File that says which changes may go into service by themselves. Without it the program's default plan is in force; "
        "`skinlesion change-plan --print-default` shows it.",
        in_form=False,
    )
    keep_versions: int = setting(
        30, "Versions kept", "Number of latest versions that keep their files.", ge=2, le=100_000
    )
    keep_former_champions: int = setting(
        5,
        "Former champions kept",
        "Number of former champions that keep their files too, those that were in service last. The one that a rollback goes to "
        "is always among them.",
        ge=1,
        le=100_000,
    )
