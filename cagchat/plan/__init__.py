"""What a book takes on a machine: bytes on disk and in memory, computed before anything is loaded."""
