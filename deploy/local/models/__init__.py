"""`rarebit models`: checkpoints of the hub, fetched and verified once."""
