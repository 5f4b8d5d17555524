"""Measure what the README claims, on models and books made for it."""
