"""Pixels: decode a photograph within bounds and bring it into an encoder's form."""
