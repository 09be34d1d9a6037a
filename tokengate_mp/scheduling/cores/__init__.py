"""Which core holds what, and which token goes where."""
