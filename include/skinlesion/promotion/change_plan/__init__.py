"""The change plan: which changes of the model may go into service by themselves, and the record of what each version changed.

plan.py      the plan and its file, change_plan.yaml; default.yaml is the plan of an installation without one
changes.py   what a version changes against the model in service
bounds.py    the gate's settings of a run that are looser than the plan's bounds
record.py    change_record.json: what changed, inside the plan or outside and why, who decided
judged.py    the record of a version that the gate has judged, and the verdict's line about it
document.py  the record on disk, and plan and records as pages for a reviewer
"""
