"""What everything stands on: files, tables, locks, workers, settings, errors. It knows nothing of lesions."""
