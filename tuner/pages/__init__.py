"""Pages in the browser: report, preferences, Optuna Dashboard."""
