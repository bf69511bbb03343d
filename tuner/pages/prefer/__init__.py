"""What a person likes: votes on pairs of finalists, the order behind them, a search that follows.

``votes`` keeps them in the study, ``strengths`` finds the order, ``agreement`` says how far metrics
agree with it and which sum of them would, ``page`` asks.
"""
