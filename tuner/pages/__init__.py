"""Pages in the browser: report, vote, dashboard."""
