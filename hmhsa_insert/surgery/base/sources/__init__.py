"""Where models come from: one class for each library, and the table of them."""
