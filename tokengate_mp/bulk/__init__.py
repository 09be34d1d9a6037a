"""Many calls of one function: in batches, a few at a time, and given as they come.

It stands below the decorator and sees of the coordinator only where calls are taken in.
"""
