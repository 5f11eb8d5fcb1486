"""Studies: grids of trainings that are paired by design and survive what happens to machines.

Kept empty: reports read a study's results and must not load torch.
"""
