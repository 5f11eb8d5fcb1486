"""Carry sites out on a model, and undo them."""
