"""Trace a network on shapes and find its maps, trunk, units and stages."""
