"""Bags: read them, write them, play them through the pipeline or the node, and report."""
