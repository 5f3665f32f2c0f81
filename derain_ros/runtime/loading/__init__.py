"""Models found, verified and loaded beside the stream."""
