"""Sites: the places in a network where the edits of a recipe apply, found in one located network."""
