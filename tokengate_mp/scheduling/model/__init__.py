"""The nouns of scheduling: ticket, operation, limit, breaker, weight class, window."""
