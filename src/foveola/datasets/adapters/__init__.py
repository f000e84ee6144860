"""One short file for each official data-set layout; `base` holds what they share."""
