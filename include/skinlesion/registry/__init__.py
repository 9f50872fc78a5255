"""The registry: every candidate as a numbered version, the gate it meets, which one is in service, and the history.

Everything is kept in files under models/, which are the truth; MLflow mirrors them. Reading them needs pydantic alone, no
pandas and no TensorFlow:

    snapshot.py      what a page or a command shows: the versions and their states, what is in service, the history
    verdict.py       what the gate said of a version, criterion by criterion
    report_files.py  the files of a version that people may see
    switch.py        promote, rollback
"""
