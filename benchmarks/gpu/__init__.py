"""Training and embedding on an accelerator: ``python -m benchmarks.gpu``."""
