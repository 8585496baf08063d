"""`python -m Testing.Benchmarks`: run every benchmark."""

from Testing.Benchmarks import fields_benchmark, generation_benchmark, training_benchmark

for page in (
    fields_benchmark.main(),
    training_benchmark.main(),
    generation_benchmark.main([]),
):
    print(page.read_text(encoding="utf-8"))
