"""Tables of images: reading and checking them, splitting them by subject, adapting data sets."""
