"""What a sweep looks like while it runs: its state, and that as a table or as lines. Nothing here knows Ray or the store."""
