"""The report: one page of HTML with pictures in it. See docs/report.md."""
