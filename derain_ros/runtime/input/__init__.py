"""Frames in: messages, encodings, bit depth, frame sets."""
