"""Figures: restoration, detection, speed."""
