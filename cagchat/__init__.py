"""Chat with a whole book: read once by a local model, its KV cache kept on disk."""

__version__ = "0.1.0"
