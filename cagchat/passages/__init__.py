"""Find the passages of a book that a question is about, and word them for the prompt, without a language model."""
