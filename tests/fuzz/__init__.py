"""Real players' transcripts, mutated, against the running gateway."""
