"""Demonstrations that `tokengate-mp demo` shows; nothing here prints."""
