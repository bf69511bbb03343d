"""The command line: every command reads its options, makes one call and prints the result."""
