"""Shared-memory rings, doorbells, and the mailbox that is made of them."""
