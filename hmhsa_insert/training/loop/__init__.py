"""The loop of a run: its parts, optimizer steps, the end of an epoch, checkpoints, stop signals."""
