"""The folder of a run: lock, log, checkpoints, environment."""
