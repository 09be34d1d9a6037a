"""The pure part: what is run where, and when.

Plain data structures without asyncio, threads, processes, clocks, randomness, ids or logging. Facts
go in (tokens submitted, a core is ready, outcomes, a core is lost), orders come out (send these to
that core, take back what that core has not begun). A test, or a simulation of 256 cores, drives it
as well as the coordinator does.
"""
