"""Files of anyone's: read within bounds, written whole, replaced only where they are ours."""
