"""The report of a run: one HTML page that needs neither a network nor a server.

`page_data` collects what the page shows as plain JSON, `album` makes pictures small enough to
embed, `figures` lets Optuna draw, `page` puts everything into one file, and `live` serves the same
page while the run is running. The folder ``page/`` holds template, style and scripts.
"""
