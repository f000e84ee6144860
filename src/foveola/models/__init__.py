"""Networks that turn a photograph into a descriptor. Needs foveola[train]."""
