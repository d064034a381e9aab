"""The template that steps are forked from (launch.py): libraries loaded, nothing opened.

Promises: importing this opens no file of the hub, no key and no connection, and starts no thread of ours.
"""

import gc

import great_expectations
import great_expectations.render.renderer  # noqa: F401
import sqlglot.dialects.duckdb  # noqa: F401

import pipelines.checks
import pipelines.cli.app
import pipelines.eligibility
import pipelines.extracts
import pipelines.landing
import pipelines.ledger
import pipelines.marts
import pipelines.sealing
import pipelines.sources  # noqa: F401

# What is loaded stays: a forked step does not touch, and so does not copy, these pages when it collects garbage.
gc.collect()
gc.freeze()
