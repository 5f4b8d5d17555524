"""Saved states on disk: one folder per book, model and settings, with a manifest that is the source of truth."""
