"""`python -m Testing.Benchmarks`: run every benchmark."""

from Testing.Benchmarks import fields_benchmark

print(fields_benchmark.main().read_text(encoding="utf-8"))
