"""The engine: a language model with a KV cache, spoken to in tokens."""
