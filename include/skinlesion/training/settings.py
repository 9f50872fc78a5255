"""The settings of training."""

from __future__ import annotations

from typing import Literal

from skinlesion.foundation.settings import setting
from skinlesion.network.settings import CUT_LAYERS, POOLED, ModelSettings
from skinlesion.prediction.settings import DecisionSettings


class TrainingSettings(DecisionSettings, ModelSettings):
    """How the network is trained. With the sections of the model and the decision, all that a trained model depends on."""

    section = "Training"

    loader: Literal["stored-activations", "image-data-generator"] = setting(
        "stored-activations",
        "Training input",
        "`stored-activations` trains above the frozen part, from the activations that embed stored. `image-data-generator` is "
        "the plain recipe: Keras's ImageDataGenerator feeds the whole network in every epoch.",
        makes_stale=("train",),
    )
    fine_tune: Literal["none", "tail", "full"] = setting(
        "tail",
        "Fine-tuning",
        "`none` trains the head alone. `tail` trains the head, then also the layers above the cut. `full` trains the head, "
        "then the whole network, which is slow: every image passes every layer in every epoch.",
        makes_stale=("train",),
    )
    cut: Literal[CUT_LAYERS] = setting(  # type: ignore[valid-type]
        "block_6_project_BN",
        "Cut layer",
        "The last frozen layer when the tail is fine-tuned. A later layer is faster and learns less.",
        makes_stale=("train",),
    )
    mirrored: bool = setting(
        True,
        "Mirrored too",
        "The model averages over the image and its mirror image, inside each of its files. A prediction takes twice as long.",
        makes_stale=("train",),
    )
    stored_ways: int = setting(
        8,
        "Orientations stored",
        "Number of orientations (quarter turns and mirror images) of each training file whose activations embed stores. An "
        "epoch takes one of them. More orientations need more disk space and more of embed's time, but no training time.",
        makes_stale=("train",),
        ge=1,
        le=8,
    )
    epochs: int = setting(
        16,
        "Epochs",
        "Number of epochs of fine-tuning. Without fine-tuning (`fine_tune=none`) it is the number of epochs of the head.",
        makes_stale=("train",),
        ge=1,
        le=500,
    )
    head_epochs: int = setting(
        10,
        "Head epochs",
        "Number of epochs in which the head alone is trained before fine-tuning, so that its random initial weights do not "
        "spoil the layers below.",
        makes_stale=("train",),
        ge=0,
        le=500,
    )
    batch_size: int = setting(
        64,
        "Batch size",
        "Largest number of images in a batch. When an epoch has fewer than 20 such batches, the batches are smaller.",
        makes_stale=("train",),
        ge=1,
        le=4096,
    )
    learning_rate: float = setting(
        3e-4,
        "Learning rate",
        "Peak learning rate of AdamW in fine-tuning, after one epoch of warm-up and before a cosine decay. The head alone is "
        "trained with ten times as much.",
        makes_stale=("train",),
        gt=0,
        le=1,
    )
    weight_decay: float = setting(1e-4, "Weight decay", "Weight decay of AdamW.", makes_stale=("train",), ge=0, le=1)
    label_smoothing: float = setting(
        0.05,
        "Label smoothing",
        "Share of each target that is spread evenly over the classes.",
        makes_stale=("train",),
        ge=0,
        lt=1,
    )
    class_weighting: Literal["none", "sqrt-inverse", "inverse"] = setting(
        "sqrt-inverse",
        "Class weighting",
        "How the loss weighs a class by its frequency. The inverse square root is a compromise between rare classes and "
        "calibration.",
        makes_stale=("train",),
    )
    diagnosis_share: float = setting(
        0.5,
        "Share of the diagnoses",
        "Share of the loss that belongs to a second head, which learns the diagnoses behind the three classes (mel, bcc, nv, "
        "...) and is thrown away after training. There is no such head where the labels name no finer diagnoses, and none "
        "with the loader `image-data-generator`.",
        makes_stale=("train",),
        ge=0,
        lt=1,
    )
    warm_start: bool = setting(
        False,
        "Warm start",
        "Go on from the model in service when only a few images are new. Scheduled runs do so. Training never goes on from a "
        "model that learnt an image which is no longer training data.",
    )
    warm_start_share: float = setting(
        0.1,
        "Largest share of new images",
        "With a larger share of new training images than this since the last training from the built model, training starts "
        "from the built model again.",
        ge=0,
        le=1,
    )
    warm_epochs: int = setting(
        2,
        "Warm epochs",
        "Number of epochs of a warm start. Each takes all new images and 2,048 of the others.",
        ge=1,
        le=500,
    )
    inner_fold_fraction: float = setting(
        0.1,
        "Inner fold",
        "Share of the training lesions that early stopping and calibration use. The held-out lesions take no part.",
        makes_stale=("train",),
        gt=0,
        le=0.5,
    )
    patience: int = setting(
        10,
        "Patience (epochs)",
        "Training stops after this number of epochs without better figures on the inner fold (malignant AUROC and the mean AUROC of "
        "the classes).",
        makes_stale=("train",),
        ge=1,
        le=500,
    )

    @property
    def stored_cut(self) -> str | None:
        """Name of the layer whose activations embed stores and train reads; None if training reads the images themselves.

        If the tail is not fine-tuned, one pooled vector for each image is enough: the head alone is trained on it.
        """
        if self.loader == "image-data-generator":
            return None
        return self.cut if self.fine_tune == "tail" else POOLED
