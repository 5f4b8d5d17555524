"""Find a GGUF file and read what it says about itself, without loading it."""
