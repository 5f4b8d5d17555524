"""Torture: faults made on purpose, as many as wanted, and what holds afterwards (`make torture`)."""
