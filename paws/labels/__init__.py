"""Work on labels: what to label next, doubtful labels, changes without training, reasons of a prediction."""
