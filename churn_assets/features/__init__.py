"""From daily activity to what a model sees: windows, trends, labels."""
