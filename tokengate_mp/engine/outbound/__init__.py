"""The way out of calls: taken in, refused, completed, until they can be sent."""
