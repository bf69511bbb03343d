"""Taking a tuned preset elsewhere: a script of its own, other engines, a pack of several."""
