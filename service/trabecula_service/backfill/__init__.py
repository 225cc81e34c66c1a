"""Studies that lie in an archive are fetched and analysed, slowly, while nothing else waits."""
