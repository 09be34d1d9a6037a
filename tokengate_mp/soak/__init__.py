"""The soak: a mixed load while core processes are killed, and the proof that nothing came of it.

`load` is what the tokens do, `driver` makes them and kills their processes, and `journal` is where
everybody writes down what happens, in a file that survives whoever is killed. `audit` reads that
file alone and says what in it should not be; `verdict` puts that together with what was seen from
outside.
"""
