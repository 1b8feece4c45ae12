"""Running the interconnection: its state, and the cut."""
