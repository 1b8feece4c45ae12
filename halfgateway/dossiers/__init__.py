"""What is handed over on paper or in files: extracts of the history, proofs, elimination records, inspections."""
