"""Measurements that take more than one timed run: each gives a raw sample and its details."""
