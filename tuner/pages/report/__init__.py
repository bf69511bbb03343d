"""The report of a run: one HTML page that works from a file, without a network or a server.

``facts`` says what is known, ``words`` says it in sentences, ``album`` makes the pictures small
enough to carry along, ``figures`` has Optuna draw, ``page`` puts them into one file, and ``live``
serves the same page while the run goes on. How it looks and behaves is in ``page/``.
"""
