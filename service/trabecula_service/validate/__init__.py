"""The validation kit: digital patients of known density, heights and grades through the installed product, with a report."""
