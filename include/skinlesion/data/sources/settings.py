"""The settings of the sources: where new images and tables come from."""

from __future__ import annotations

from typing import Final

from skinlesion.data.settings import DataSettings
from skinlesion.foundation.settings import OptionalText, setting

ADDRESS: Final = r"^https?://[^\s@?#]+$"
"""Address of a server, without a user and a query: secrets come from the environment, and settings are shown in logs."""

STORE: Final = r"^$|^[a-z][a-z0-9]*://[^\s@?#]*$"

COLLECTIONS: Final = r"^$|^[0-9]+(,[0-9]+)*$"


class SourceSettings(DataSettings):
    """The drop folder, the object store, the ISIC Archive, the official data sets, and how they are read."""

    section = "Sources"

    drop_folder: OptionalText = setting(
        "",
        "Drop folder",
        "Images and CSV tables are moved from here into the data set as soon as they are complete. Empty: no drop folder.",
        in_form=False,
    )
    drop_settle_seconds: int = setting(
        60,
        "Drop folder: settle (seconds)",
        "A file stays in the drop folder until nothing about it has changed for so long.",
        ge=0,
        le=86_400,
    )
    object_store: OptionalText = setting(
        "",
        "Object store",
        "A prefix, such as s3://bucket/prefix or gs://bucket/prefix, whose images and CSV tables are copied. Credentials come "
        "from the environment; without any, the bucket is read as a public one. Empty: no object store.",
        in_form=False,
        pattern=STORE,
    )
    object_store_endpoint: OptionalText = setting(
        "",
        "Object store: endpoint",
        "Address of an S3 or GCS server that is not Amazon's or Google's. Empty: theirs.",
        in_form=False,
        pattern=f"^$|{ADDRESS}",
    )
    isic_query: OptionalText = setting(
        "",
        "ISIC Archive: query",
        'Images of the ISIC Archive to download, in its search language: diagnosis_1:"Malignant" AND '
        "image_type:dermoscopic. Without a query and without collections nothing is downloaded.",
    )
    isic_collections: OptionalText = setting(
        "",
        "ISIC Archive: collections",
        "Numbers of collections, separated by commas. With a query, only the images of these collections that it finds.",
        pattern=COLLECTIONS,
    )
    isic_address: str = setting(
        "https://api.isic-archive.com",
        "ISIC Archive: address",
        "Address of the ISIC Archive's API.",
        in_form=False,
        pattern=ADDRESS,
    )
    challenge_address: str = setting(
        "https://isic-challenge-data.s3.amazonaws.com",
        "ISIC challenge data: address",
        "Where `skinlesion fetch` finds ISIC 2018 and 2019.",
        in_form=False,
        pattern=ADDRESS,
    )
    dataverse_address: str = setting(
        "https://dataverse.harvard.edu",
        "Dataverse: address",
        "Where `skinlesion fetch` finds HAM10000.",
        in_form=False,
        pattern=ADDRESS,
    )
    connections: int = setting(
        8,
        "Downloads at once",
        "Number of simultaneous downloads from an object store or the ISIC Archive.",
        ge=1,
        le=64,
    )
    network_timeout: int = setting(
        60, "Network: time-out (seconds)", "A server that sends nothing for so long counts as failed.", ge=1, le=3600
    )
    network_attempts: int = setting(
        5,
        "Network: attempts",
        "Attempts before a file counts as failed. When a zip arrives in pieces, each new piece starts the count anew.",
        ge=1,
        le=20,
    )
    ingest_wait: int = setting(
        60,
        "Wait for another ingest (seconds)",
        "Two ingests of one data set work one after the other; the second fails when it has waited for so long.",
        ge=0,
        le=7200,
    )
