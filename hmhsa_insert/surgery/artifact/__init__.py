"""The artifact: an edited model as a folder of plain data."""
