"""Pictures of networks: the drawing of an edit, and where attention looks on an image."""
