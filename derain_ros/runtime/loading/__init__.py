"""Finds, verifies and loads models beside the stream."""
