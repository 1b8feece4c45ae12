"""What is mailed and is no incident's notice: each matter a book, beside those of the incidents (ADR 0014)."""
