"""The model in use: what the prediction log says beside the model's own held-out images.

settings.py    where the log lies, and from when on there is an alarm
record.py      what the monitor found, as the page reads it
reference.py   a version's held-out images, with which weeks are compared
effects.py     how far a week lies from them
estimate.py    performance without labels, from calibrated probabilities; and measured performance
alarms.py      the rules of an alarm
monitor.py     the weeks of a log, one by one
"""
