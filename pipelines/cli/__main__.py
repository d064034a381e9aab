"""`python -m pipelines.cli`: how a step is started as a process of its own (launch.py)."""

from pipelines.cli import main

main()
