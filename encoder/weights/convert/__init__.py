"""Weights from one format to another, whole model folders included."""
