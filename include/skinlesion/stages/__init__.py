"""The stages of a run, one file each, in this order: ingest, resize, augment, organize, build, embed, train, evaluate.
Collect and examine are what ingest begins with, for runs over several workers.

A stage calls down (catalog, backbone, ...) and never another stage; stages meet only through what lies on disk.
"""
