"""Why a value cannot be pickled: the way to the part of it that cannot, for the error's text."""
