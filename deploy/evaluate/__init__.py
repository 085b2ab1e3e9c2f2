"""`rarebit evaluate`: methods beside one another on one checkpoint, with metrics that none of them optimises."""
