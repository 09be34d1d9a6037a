"""Decorator options and coordinator settings, checked where they are written down."""
