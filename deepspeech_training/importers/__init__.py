"""One file per corpus: each fetches or finds its recordings and writes the CSVs that training reads."""
