"""Classes in two steps: of each kind, what a bare class is made from, and what it gets then."""
