"""How many workers a load takes: simulated, from measured times."""
