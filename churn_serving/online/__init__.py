"""The online store: everybody's newest features and daily scores, found by user id in files mapped into memory."""
