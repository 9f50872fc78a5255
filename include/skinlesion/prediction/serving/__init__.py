"""Predictions over HTTP: `skinlesion serve`. One file a concern; app.py puts them together, server.py listens."""
