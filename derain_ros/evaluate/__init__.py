"""Figures of restoration, detection, sequences, odometry, segmentation and fusion."""
