"""Where would a block pay? Placements scored before anything is trained in full, and raced for a share of a training.

The flow: `candidates` (blocks and their placebos at the end of every stage) → `record` (maps and gradients of the
network without them) → `align` (each block alone, trained towards the gradients) → `race` (the best few, in short
paired trainings) → `finding` (what that says).
"""
