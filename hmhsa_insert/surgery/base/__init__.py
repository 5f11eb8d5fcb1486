"""The network as it was given: loaded, what goes into it, and copies of it on fake tensors."""
