"""What pages and the interface for programs answer with: one function an answer."""
