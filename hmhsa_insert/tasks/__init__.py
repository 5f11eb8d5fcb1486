"""Tasks: what a network learns, one file each, and the table that commands, studies and reports look them up in."""
