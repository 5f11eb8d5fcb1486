"""Attention blocks from their papers' equations; one file each."""
