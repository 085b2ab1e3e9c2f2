"""The gateway: takes jobs, answers for them, never reaches torch."""
