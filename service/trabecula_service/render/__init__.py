"""Documents from a result: each a pure function of the result and the images it names."""
