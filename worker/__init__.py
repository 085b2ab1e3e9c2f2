"""The process that has a GPU or CPU slot: takes jobs, runs the sampler, publishes what it made."""
