"""Your own images: from a folder and a few labels to predictions."""
