"""Preferences: votes on pairs of results, and the ranking and objective that follow from them.

`page` asks, `votes` keeps the votes in the study, `strengths` computes the ranking, `agreement`
compares metrics with the votes, and `outcome` puts the result together.
"""
