"""Evaluation with ORB-SLAM3: the effect of wet lenses, and of restoring."""
