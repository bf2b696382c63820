"""The report: its page, tables, cards, charts and words, made from results.json."""
