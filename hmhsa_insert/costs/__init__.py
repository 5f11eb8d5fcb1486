"""What a model costs: counts, memory and time, measured so that they can be compared."""
