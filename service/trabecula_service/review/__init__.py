"""The reader's part: corrections to a result, and the signed version that comes of them."""
