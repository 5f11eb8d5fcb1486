"""Formats of labels: one a file, the table of them, and the conversion of one into another."""
