"""From features and labels to a judged model."""
