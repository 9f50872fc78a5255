"""The stages of a run, one file each, in this order: ingest, resize, augment, organize, build, embed, train, evaluate, promote.

Collect and examine are the first steps of ingest, for runs on several workers. A stage never calls another stage: stages
communicate only through the files that they leave.
"""
