"""The artifact: an edited network as a folder of plain data."""
