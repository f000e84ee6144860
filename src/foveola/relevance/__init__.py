"""What an archive learns from its own labels, and how it orders cases by it."""
