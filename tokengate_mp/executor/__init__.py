"""The facade for code that is written for `concurrent.futures`.

It stands on the coordinator's parts and not on a coordinator: an executor has core processes of its
own, and there may be any number of executors, beside a coordinator or without one.
"""
