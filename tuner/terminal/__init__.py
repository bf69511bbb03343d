"""What commands print: tables, progress and the consoles."""
