"""Looking at CSVs without training: bin/show_data.py, bin/stats.py, bin/check_data.py."""
