"""Each is `python -m benchmarks.NAME` and prints one JSON object, both sides measured in the same run."""
