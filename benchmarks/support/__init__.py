"""Code that several benchmarks share; nothing here is a benchmark by itself."""
