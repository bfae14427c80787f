"""The report of a run: one self-contained HTML page and its summary for machines.

`collect` reads what the finished stages left, `build` draws the page, `summary` gives the numbers.
A run that is not finished gets the page of what is there, which says what is missing.
"""

from chainsight.report.data import ReportData, StageResult, collect
from chainsight.report.page import build
from chainsight.report.summary import summary

__all__ = ["ReportData", "StageResult", "build", "collect", "summary"]
