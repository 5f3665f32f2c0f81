"""Engines: one loaded model, ready to run on one device."""
