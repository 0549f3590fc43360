"""A suite of image folders with known truth, on which `paws fit` and the best known alternatives are compared."""
