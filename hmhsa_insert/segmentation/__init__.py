"""Semantic segmentation: decoders on any located backbone, masks as people have them, scores over the whole set."""
