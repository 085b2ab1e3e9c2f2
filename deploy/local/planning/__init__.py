"""How many workers a load takes, and whether an autoscaler keeps up with it: simulated, from measured times."""
