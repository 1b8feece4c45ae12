"""What there is to watch: cameras, their profiles, and how they were found."""
