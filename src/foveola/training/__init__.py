"""Train descriptors and export them as released encoders. Needs foveola[train]."""
