"""Where tokens wait before they are sent to a core."""
