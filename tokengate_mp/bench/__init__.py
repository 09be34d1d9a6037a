"""Everything that demos and benchmarks run and measure; nothing here prints.

`work` holds the work as plain functions and decorated. Of the benchmark, `measuring` says who is
measured and how a sample is taken, `probes` hold the measurements of many steps, `rows` list what
is measured, `run` takes every sample, and `results` says what samples come to. `machine` names the
facts that a figure has to be read with. `demos` is what `tokengate-mp demo` shows.
"""
