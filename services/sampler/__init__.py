"""What whoever samples needs, a worker or a command: models, densities of texts, a request in the sampler's words."""
