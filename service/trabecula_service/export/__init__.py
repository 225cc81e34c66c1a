"""Results and reviewed corrections as a data set in VerSe's layout: to compare, to share, to train on."""
