"""Rules: files, templates and the states of alerts. Pure: texts and results in, values out."""
