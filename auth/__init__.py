"""Who may, and who did: accounts, factors, sessions, policy, and the tamper-evident trace."""
