"""One file per kind of destination."""
