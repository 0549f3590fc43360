"""`paws label`: a page on this machine in which a folder of images gets its labels, with a learner in the loop."""
