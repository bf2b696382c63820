"""The page to ask on, and the endpoints that it asks."""
