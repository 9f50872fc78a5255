"""Predictions over HTTP: `skinlesion serve`. app.py puts the parts together, server.py listens."""
