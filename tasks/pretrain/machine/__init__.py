"""The machine that a model is trained on: device and number format, memory, threads, compiler, processes, energy."""
