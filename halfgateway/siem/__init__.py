"""The trace off the host, to the collector of a SIEM (S06): what is sent, how, and up to where it has been."""
