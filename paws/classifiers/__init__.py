"""Class probabilities from features: one file a method, calibration, and the problem that they are fitted to."""
