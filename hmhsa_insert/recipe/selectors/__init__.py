"""Selectors: which places of a network an edit means. One class a kind, with its keys, their words and its matching."""
