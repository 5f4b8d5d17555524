"""A chat may know the book only up to a limit: what a reader says of it, the token it falls on, and how it is kept."""
