"""Operations' runbook, held to the product."""
