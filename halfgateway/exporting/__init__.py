"""Footage kept as files: bit-exact copies of a recording, with a signed manifest, where it is agreed (L14, L15)."""
