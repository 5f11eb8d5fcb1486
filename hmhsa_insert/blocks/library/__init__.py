"""Blocks of other libraries: one table of rows, each a class; their layouts, written once. No block code is ours."""
