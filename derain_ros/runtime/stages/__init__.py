"""The steps that run networks on a frame set."""
