"""Images, labels, splits, support sets and views."""
