"""Fetch model files: from Hugging Face or any server, resumed after a break, checked before they get their names."""
