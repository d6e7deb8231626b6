"""One file a column; `difference`, `size`, ... are the words that ask for them."""
