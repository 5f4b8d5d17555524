"""Chats about books: what was asked, what was answered, and the tokens that bring a chat back."""
