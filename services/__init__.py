"""What the gateway and the worker share: settings, the job store, the queue, storage and the sampler."""
