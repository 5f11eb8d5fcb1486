"""Sites: the places where the edits of a recipe apply, resolved against one located network."""
