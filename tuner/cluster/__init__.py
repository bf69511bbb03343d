"""Everything that runs on Ray: sessions, engines as actors, trials."""
