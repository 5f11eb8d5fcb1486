"""The heart: load → trace → locate → plan → splice → verify, and the artifact."""
