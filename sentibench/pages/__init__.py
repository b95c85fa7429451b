"""Shared parts of HTML pages and model cards."""
