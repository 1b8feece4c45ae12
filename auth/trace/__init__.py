"""The tamper-evident journal of every access (RFC 6962 tree, C2SP signed checkpoints)."""
