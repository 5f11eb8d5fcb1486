"""What each block is called, takes and costs. No torch: the modules are in the files of the same names above."""
