"""The Python code of a network: sources, closures and classes; nothing about layers."""
