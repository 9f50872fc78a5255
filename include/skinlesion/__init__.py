"""Scheduled, incremental, leak-proof retraining of a classifier of dermoscopic images: malignant, benign or unknown.

Research and education only: not a medical device. The package knows nothing of Airflow; `dags/` calls it.
"""
