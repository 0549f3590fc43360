"""Ways to train an encoder, one file each."""
