"""PAWS: semi-supervised learning of visual features by non-parametrically predicting view assignments with support samples."""
