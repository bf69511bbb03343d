"""Everything that runs on Ray: connection, engines as actors, trials, jobs on a cluster."""
