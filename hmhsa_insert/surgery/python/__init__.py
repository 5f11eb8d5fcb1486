"""The Python that a network is written in: sources, closures and classes, without a word of layers."""
