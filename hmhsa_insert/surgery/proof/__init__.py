"""Prove that an edit does what was asked: rehearse it on fake tensors and compare the networks."""
