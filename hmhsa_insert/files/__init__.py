"""Files: read within limits, since they may come from anyone; written completely; replaced only if ours."""
