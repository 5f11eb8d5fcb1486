"""Tables, plots and pages from records of what models cost and reach. Knows records as data, and no torch."""
