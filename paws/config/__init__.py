"""What can be set: recipe cards, options of a fit. Nothing here needs torch."""
