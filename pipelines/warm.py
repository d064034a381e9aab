"""The template that steps are forked from (launch.py): libraries loaded, nothing opened.

Promises: importing this opens no file of the hub, no key and no connection, and starts no thread of ours.
"""

import great_expectations
import great_expectations.render.renderer  # noqa: F401

import pipelines.checks
import pipelines.landing
import pipelines.ledger
import pipelines.marts
import pipelines.sources  # noqa: F401
