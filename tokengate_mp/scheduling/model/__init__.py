"""The nouns of scheduling: tickets, operations, weight classes, costs."""
