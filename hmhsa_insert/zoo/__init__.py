"""Coverage: locate, plan, apply and verify over many networks, and the table of what came out."""
