"""What shows that an edit is the one that was asked for: rehearsed on fake tensors, and compared."""
