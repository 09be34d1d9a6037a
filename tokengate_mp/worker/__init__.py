"""What runs in a core process, and nothing else.

This package is apart from the coordinator because a core process must start quickly and stay small:
it imports the wire, the first floor and little of the standard library; no asyncio, no
coordinator, no user module before a token needs one.
"""
