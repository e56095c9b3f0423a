"""Synthetic events of a plausible population."""
