"""From results to what people read: the answer in words, the page, the pictures, the files."""
