"""Synthetic anomalies and scenes, in numpy and OpenCV."""
