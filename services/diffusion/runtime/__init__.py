"""What runs of any method stand on: checkpoints, batches on the device, memory, savepoints."""
