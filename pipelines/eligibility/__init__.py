"""Eligibility: products as data, decided in SQL for everybody with a live consent, explained to anybody asked.

Promises: `decide` writes a night's decisions in one commit; `explain` says why, cell by cell, in words.
Refuses:  a score. Outcomes of public rules, with reasons, and nothing else (征信业管理条例).
Not here: consents (consent/), packages (extracts/).
"""

from pipelines.eligibility.decide import decide
from pipelines.eligibility.explain import Explanation, explain
from pipelines.eligibility.product import Product

__all__ = ["Explanation", "Product", "decide", "explain"]
