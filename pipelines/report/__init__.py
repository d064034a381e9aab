"""The night's page: what arrived, what was held back, what was decided, what left, and whether it adds up."""

from pipelines.report.build import build
from pipelines.report.figures import figures_expected

__all__ = ["build", "figures_expected"]
