# Each target calls the script that continuous integration and the README use as well.
.PHONY: demo test check clean

demo:
	@scripts/demo

test:
	@scripts/test

check:
	@scripts/check

# Caches and build products only; runs/ and .venv are yours to remove.
clean:
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
