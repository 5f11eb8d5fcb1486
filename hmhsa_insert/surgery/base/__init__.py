"""The base network: how it is loaded, its inputs, and copies of it on fake tensors."""
