"""Quotes in an answer, looked up in the book: found, nearly found, or not there."""

from cagchat.quotes.book_index import BookIndex
from cagchat.quotes.check import Check, Checks, QuoteChecker
from cagchat.quotes.find import Quoted, quoted
from cagchat.quotes.locating import Located, Mark, locate

__all__ = ["BookIndex", "Check", "Checks", "Located", "Mark", "QuoteChecker", "Quoted", "locate", "quoted"]
