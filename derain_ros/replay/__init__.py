"""Bags: read, write, play through the pipeline or the node, report."""
