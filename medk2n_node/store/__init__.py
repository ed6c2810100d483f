"""Instance files on disk and the tables about them."""
