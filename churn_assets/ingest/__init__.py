"""From a source to trusted rows: reading, the contract of raw data, quarantine."""
