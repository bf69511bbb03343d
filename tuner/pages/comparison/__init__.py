"""The comparison of several runs: one HTML page, alone or as the first page of a site.

`comparison_data` collects what the page shows as plain JSON, `page` writes the file, and `run_site`
writes a folder with this page and the report of every run. The page uses the style and the base
scripts of the report.
"""
