"""From an input to a result: the steps of one analysis in their order."""
