"""Coverage: locate, plan, apply and verify many networks, and a table of the results."""
