"""The help of each stage's command: what the stage does, what it reads and what it leaves."""

from __future__ import annotations

from typing import Final

STAGE_HELP: Final = {
    "collect": """Bring new images from the sources that the settings name.

    Reads the drop folder, the object store or the ISIC Archive. Leaves the images in the data set's images/ and the tables
    of labels that come with them in labels/. Ingest does this too, if it has not been done.""",
    "examine": """Read and decode the image files that are new or have changed, for ingest.

    Reads images/. Leaves what each file holds, or why it cannot be used, in the data set's tables/ingest/. Ingest does this
    too, if it has not been done; several workers can share it with --shard.""",
    "ingest": """Join images and diagnoses, decide the split, and check the data.

    Reads images/, diagnoses.csv and labels/. Leaves catalog.parquet with one row for each image (or the reason why it is
    refused), split.parquet and data_report.html in the data set; if the data do not pass their checks, only
    data_report_failed.html.""",
    "resize": """Bring every accepted image to 224x224 pixels.

    Reads catalog.parquet and images/. Leaves processed_images/IMAGE.jpg in the data set.""",
    "augment": """Make altered copies of the training images; held-out images get none.

    Reads catalog.parquet and processed_images/. Leaves processed_images/augmented/IMAGE__aug01.jpg and so on in the data
    set.""",
    "organize": """Sort the images into a folder for each class.

    Reads catalog.parquet, processed_images/ and its augmented/. Leaves links to their files in
    processed_images/output/{benign,malignant,unknown}/ and manifest.parquet, with one row for each, in the data set.""",
    "build": """Build the classifier before training.

    Reads the weights of the backbone, which it downloads if they are not on this machine. Leaves skin_lesion_classifier.h5 in
    the models folder and, without a GPU, the part of it that is not trained in the data set's features/.""",
    "embed": """Run the part of the network that is not trained, once for each training image.

    Reads manifest.parquet, the images that it names and skin_lesion_classifier.h5. Leaves the activations in the data set's
    features/.""",
    "train": """Train a candidate on the training lesions; an interrupted training goes on.

    Reads manifest.parquet, features/ and skin_lesion_classifier.h5. Leaves the model in three formats, its decision rule and
    training.json, which says how it was made, in the models folder's candidates/RUN/.""",
    "evaluate": """Measure the candidate, and the model in service, on the held-out lesions.

    Reads manifest.parquet, the held-out images and the two models. Leaves metrics.json, predictions.parquet, report.html and
    model_card.md in the models folder's candidates/RUN/, and the candidate as a new version in registry/.""",
    "promote": """Judge the version at the gate and, if it passes, put it in service.

    Reads the version, the model in service and the held-out images. Leaves the verdict in candidates/RUN/verdict.json, the
    model in releases/ and, as the model in service, skin_lesion_classifier_trained.h5 in the models folder, an entry in the
    history, and MLflow's copy in mlflow/.""",
}
"""By the name of the stage. The first paragraph is the line in the list of commands."""
