"""The page, its tables, cards, charts and words, from what results.json holds."""
