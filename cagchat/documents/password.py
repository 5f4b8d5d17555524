"""The error of a document that opens only with a password, so that a front end can ask for it."""

from __future__ import annotations

from cagchat.errors import BookError


class PasswordNeeded(BookError):
    """The document is locked: no password was given, or a wrong one."""
